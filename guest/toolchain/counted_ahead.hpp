// Loops that are charged ahead: the number of iterations is known when the loop is entered, so that a tight or
// vectorized body runs as if uncounted.
#pragma once

#include <llvm/ADT/SmallPtrSet.h>
#include <llvm/Analysis/LoopInfo.h>
#include <llvm/Analysis/ScalarEvolution.h>
#include <llvm/Analysis/TargetTransformInfo.h>

#include <cstdint>
#include <optional>

namespace understudy::toolchain {

// Blocks that end in a back-edge.
using Latches = llvm::SmallPtrSet<llvm::BasicBlock*, 8>;

// Counts that are to be charged before an instruction: an i64 of at most kPortion.
struct Due {
    llvm::Value* counts;
    llvm::Instruction* where;
};

bool calls_something(const llvm::Loop& loop);

// An innermost loop that calls nothing and is left from its latch alone: the latch runs back_edges + 1 times.
struct LoopAhead {
    llvm::Loop* loop;  // valid until the CFG changes
    llvm::BasicBlock* preheader;
    llvm::BasicBlock* header;
    llvm::BasicBlock* latch;
    llvm::BasicBlock* exit;
    const llvm::SCEV* back_edges;
    std::uint64_t most_back_edges;  // an upper bound of them

    [[nodiscard]] bool needs_strips() const;
};

// nullopt: the loop's iterations are not known, or not cheaply so. `latches` are all of the function's.
std::optional<LoopAhead> as_loop_ahead(llvm::Loop& loop, const Latches& latches, llvm::ScalarEvolution& evolution,
                                       const llvm::TargetTransformInfo& target);

// A loop of at most kPortion iterations: they are all due in its preheader. Leaves the CFG as it is.
Due due_in_preheader(const LoopAhead& loop, llvm::Value* back_edges);

// A longer one is split into strips of at most kPortion iterations, each due before it starts.
//
//     preheader ─▶ strip ─▶ header ... latch ─▶ strip_end ─▶ exit
//                    ▲        ▲───────────┘         │
//                    └──────────────────────────────┘
//
// The latch's own condition gives way to a countdown of the strip's iterations, so that the inner loop is no longer
// than it was. Invalidates every analysis of the function.
Due due_in_strips(const LoopAhead& loop, llvm::Value* back_edges);

}  // namespace understudy::toolchain
