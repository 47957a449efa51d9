// Loops that are not charged at each iteration but ahead, or behind, in portions of at most kMaxCharge, so that a tight
// or vectorized body runs nearly as if uncounted.
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

// An innermost loop that calls nothing, so that nothing between two charges can take longer than its iterations do. It
// is charged one count for each time that its latch is reached.
struct ChargedLoop {
    llvm::BasicBlock* preheader;
    llvm::BasicBlock* header;
    llvm::BasicBlock* latch;
    llvm::SmallVector<llvm::BasicBlock*, 4> exits;

    // How often the latch goes back, where that is known when the loop is entered and the latch is the only way out;
    // nullptr: not known. And an upper bound of it.
    const llvm::SCEV* back_edges;
    std::uint64_t most_back_edges;
};

// nullopt: count the loop's iterations one by one. `latches` are all of the function's.
std::optional<ChargedLoop> as_charged_loop(llvm::Loop& loop, const Latches& latches, llvm::ScalarEvolution& evolution,
                                           const llvm::TargetTransformInfo& target);

// Ahead: charges the whole loop, of at most kMaxCharge iterations, in its preheader. Leaves the CFG as it is.
void charge_in_preheader(const ChargedLoop& loop, llvm::Value* back_edges);

// Ahead: splits the loop into strips of at most kMaxCharge iterations, each charged before it starts.
//
//     preheader ─▶ strip ─▶ header ... latch ─▶ strip_end ─▶ exit
//                    ▲        ▲───────────┘         │
//                    └──────────────────────────────┘
//
// The latch's own condition gives way to a countdown of the strip's iterations, so that the inner loop is no longer
// than it was. Invalidates every analysis of the function.
void charge_in_strips(const ChargedLoop& loop, llvm::Value* back_edges);

// Behind: counts the iterations in a register, and charges them where the loop is left, or when they are kMaxCharge.
//
//     preheader ─▶ header ... ──▶ is it full? ──▶ latch ─▶ exits
//                    ▲   └▶ exits     └▶ refill ─▶┘ │
//                    └──────────────────────────────┘
//
// Invalidates every analysis of the function.
void charge_at_exits(const ChargedLoop& loop);

}  // namespace understudy::toolchain
