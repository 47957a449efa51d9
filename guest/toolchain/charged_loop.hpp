// Loops that are charged ahead instead of at each iteration, so that a tight or vectorized body runs as if uncounted.
#pragma once

#include <llvm/ADT/SmallPtrSet.h>
#include <llvm/Analysis/LoopInfo.h>
#include <llvm/Analysis/ScalarEvolution.h>
#include <llvm/Analysis/TargetTransformInfo.h>
#include <llvm/Transforms/Utils/ScalarEvolutionExpander.h>

#include <cstdint>
#include <optional>

namespace understudy::toolchain {

// Blocks that end in a back-edge.
using Latches = llvm::SmallPtrSet<llvm::BasicBlock*, 8>;

// A loop whose number of iterations is known when it is entered. It has one latch, which is also its only way out, so
// that the latch runs exactly back_edges + 1 times; and it calls nothing, so that nothing can interrupt the sum.
struct ChargedLoop {
    llvm::BasicBlock* preheader;
    llvm::BasicBlock* header;
    llvm::BasicBlock* latch;
    llvm::BasicBlock* exit;
    const llvm::SCEV* back_edges;
    std::uint64_t most_back_edges;  // an upper bound of back_edges
};

// Says whether `loop` can be charged ahead; nullopt: count its iterations one by one. `latches` are all of the
// function's.
std::optional<ChargedLoop> as_charged_loop(llvm::Loop& loop, const Latches& latches, llvm::ScalarEvolution& evolution,
                                           const llvm::TargetTransformInfo& target);

// Charges the whole loop in its preheader. For loops of at most kMaxCharge iterations. Leaves the CFG as it is.
void charge_in_preheader(const ChargedLoop& loop, llvm::Value* back_edges);

// Splits the loop into strips of at most kMaxCharge iterations, each charged before it starts:
//
//     preheader ─▶ strip ─▶ header ... latch ─▶ strip_end ─▶ exit
//                    ▲        ▲───────────┘         │
//                    └──────────────────────────────┘
//
// The latch's own condition gives way to a countdown of the strip's iterations, so that the inner loop is no longer
// than it was. Invalidates every analysis of the function.
void charge_in_strips(const ChargedLoop& loop, llvm::Value* back_edges);

}  // namespace understudy::toolchain
