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

// Charges `counts` (1..kMaxCharge), a constant, before `where`.
void charge(std::uint64_t counts, llvm::Instruction* where);

// Charges `counts`, an i64 that is never above kMaxCharge, before `where`.
void charge(llvm::Value* counts, llvm::Instruction* where);

}  // namespace understudy::toolchain
