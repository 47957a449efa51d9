// Nests of loops that are counted in a register, and charged behind: where they are left, or when a portion is full.
#pragma once

#include <llvm/Analysis/LoopInfo.h>
#include <llvm/IR/Instructions.h>

#include "guest/toolchain/counted_ahead.hpp"

namespace understudy::toolchain {

// A short loop with all that it contains, which calls nothing: nothing between two charges can take longer than a
// portion of iterations does.
class NestBehind {
  public:
    // False for what is charged place by place.
    static bool suits(const llvm::Loop& loop);

    explicit NestBehind(const llvm::Loop& loop);

    // Counts in the register, before an instruction of the nest.
    void count(const Due& due);

    // Call once, when all is counted: starts the register in the preheader, and charges what it holds at the exits.
    // count() and finish() invalidate every analysis of the function.
    void finish();

  private:
    llvm::BasicBlock* preheader_;
    llvm::SmallVector<llvm::BasicBlock*, 4> exits_;
    llvm::AllocaInst* counted_;  // from -kPortion up to 0; becomes a register in finish()
};

}  // namespace understudy::toolchain
