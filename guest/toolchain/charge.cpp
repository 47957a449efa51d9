#include "guest/toolchain/charge.hpp"

#include <llvm/IR/Constants.h>
#include <llvm/IR/DerivedTypes.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InlineAsm.h>

#include <cassert>
#include <string>

#include "guest/abi/abi.hpp"

namespace understudy::toolchain {
namespace {

// One read-modify-write on the cell: a kick lowers the cell at any instruction, and a load and a store apart would lose
// what was written between them. The way to the trap lies behind the function's section, so that the counted path
// falls through. The call needs a stack without a red zone; the trap itself keeps every register.
std::string charge_sequence() {
    static_assert(offsetof(abi::Control, cell) == 0);
    const std::string cell = std::to_string(abi::kControlBase);
    const std::string trap_entry = std::to_string(abi::kControlBase + offsetof(abi::Control, trap_entry));
    return "subq $0, " + cell +
           "\n\t"
           "js .Lunderstudy_trap${:uid}\n"
           ".Lunderstudy_go_on${:uid}:\n\t"
           ".subsection 1\n"
           ".Lunderstudy_trap${:uid}:\n\t"
           "callq *" +
           trap_entry +
           "\n\t"
           "jmp .Lunderstudy_go_on${:uid}\n\t"
           ".previous";
}

}  // namespace

void charge(llvm::Value* counts, llvm::Instruction* where) {
    const auto* constant = llvm::dyn_cast<llvm::ConstantInt>(counts);
    assert(constant == nullptr || constant->getValue().ule(kMaxCharge));
    llvm::IRBuilder<> builder(where);
    auto* type = llvm::FunctionType::get(builder.getVoidTy(), {builder.getInt64Ty()}, false);
    const std::string operand = constant != nullptr ? "i" : "r";
    auto* sequence = llvm::InlineAsm::get(type, charge_sequence(), operand + ",~{memory},~{dirflag},~{fpsr},~{flags}",
                                          /*hasSideEffects=*/true);
    builder.CreateCall(type, sequence, {counts})->setDoesNotThrow();
}

}  // namespace understudy::toolchain
