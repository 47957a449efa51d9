#include "guest/toolchain/charge.hpp"

#include <llvm/IR/Constants.h>
#include <llvm/IR/DerivedTypes.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InlineAsm.h>
#include <llvm/IR/Module.h>

#include <cassert>
#include <string>

#include "guest/abi/abi.hpp"

namespace understudy::toolchain {
namespace {

// One read-modify-write on the cell: a kick lowers the cell at any instruction, and a load and a store apart would lose
// what was written between them. The way to the trap lies behind the function's section, so that the counted path
// falls through. The call needs a stack without a red zone; the trap itself keeps every register.
//
// The kernel has the control page in its data, as a symbol; a program has it at a fixed address below 2 GiB, which
// needs no relocation: shared libraries and executables that are loaded anywhere count as well.
//
// The flags that the charge leaves depend on how the cell was armed, which differs between replicas. A program may
// fault before it has set others, and its kernel then stores them: in a program they are set to something that is the
// same everywhere. A kernel's flags are seen by nobody but its layer, which masks them.
std::string charge_sequence(bool in_kernel) {
    static_assert(offsetof(abi::Control, cell) == 0);
    const std::string cell = in_kernel ? std::string("understudy_control") : std::to_string(abi::kControlBase);
    const std::string trap_entry = cell + "+" + std::to_string(offsetof(abi::Control, trap_entry));
    return std::string("subq $0, ") + cell +
           std::string(
               "\n\t"
               "js .Lunderstudy_trap${:uid}\n"
               ".Lunderstudy_go_on${:uid}:\n\t") +
           (in_kernel ? "" : "testq %rsp, %rsp\n\t") +
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
    const bool in_kernel = where->getModule()->getCodeModel() == llvm::CodeModel::Kernel;
    auto* sequence =
        llvm::InlineAsm::get(type, charge_sequence(in_kernel), operand + ",~{memory},~{dirflag},~{fpsr},~{flags}",
                             /*hasSideEffects=*/true);
    builder.CreateCall(type, sequence, {counts})->setDoesNotThrow();
}

}  // namespace understudy::toolchain
