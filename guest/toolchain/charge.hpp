// The instruction sequence that counts: what every counted place in a program becomes.
#pragma once

#include <llvm/IR/Instruction.h>
#include <llvm/IR/Value.h>

#include <cstdint>

namespace understudy::toolchain {

// The most that one charge takes from the cell, and so the longest stretch, in counts, that a trap can be late. At a
// nanosecond or two for an iteration this keeps a kicked guest from running on for more than some microseconds, while a
// loop that is charged in such portions still pays next to nothing.
constexpr std::uint64_t kMaxCharge = 1U << 12;

// What is charged ahead or gathered behind: two of them may come together in one charge.
constexpr std::uint64_t kPortion = kMaxCharge / 2;

// Charges `counts`, an i64 that is never above kMaxCharge, before `where`.
void charge(llvm::Value* counts, llvm::Instruction* where);

}  // namespace understudy::toolchain
