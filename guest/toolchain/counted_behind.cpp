#include "guest/toolchain/counted_behind.hpp"

#include <llvm/IR/Dominators.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/MDBuilder.h>
#include <llvm/Transforms/Utils/BasicBlockUtils.h>
#include <llvm/Transforms/Utils/PromoteMemToReg.h>

#include "guest/toolchain/charge.hpp"

namespace understudy::toolchain {
namespace {

// In a long body a charge at each iteration costs next to nothing, while a register for the count may be dear.
bool is_long(const llvm::Loop& loop) {
    constexpr std::size_t kLong = 64;
    std::size_t instructions = 0;
    for (const llvm::BasicBlock* block : loop.blocks()) {
        instructions += block->size();
    }
    return instructions > kLong;
}

llvm::ConstantInt* start_value(llvm::LLVMContext& context) {
    return llvm::ConstantInt::getSigned(llvm::Type::getInt64Ty(context), -static_cast<std::int64_t>(kPortion));
}

}  // namespace

bool NestBehind::suits(const llvm::Loop& loop) {
    const llvm::Function& function = *loop.getHeader()->getParent();
    return !function.hasOptSize() && !function.hasOptNone() && loop.isLoopSimplifyForm() && !is_long(loop) &&
           !calls_something(loop);
}

NestBehind::NestBehind(const llvm::Loop& loop) : preheader_(loop.getLoopPreheader()) {
    loop.getUniqueExitBlocks(exits_);
    llvm::IRBuilder<> builder(&*preheader_->getParent()->getEntryBlock().begin());
    counted_ = builder.CreateAlloca(builder.getInt64Ty(), nullptr, "counted");
}

void NestBehind::count(const Due& due) {
    llvm::LLVMContext& context = due.where->getContext();
    llvm::IRBuilder<> builder(due.where);
    // The carry, not the sign: one fused instruction tests it.
    auto* before = builder.CreateLoad(builder.getInt64Ty(), counted_);
    auto* sum = builder.CreateBinaryIntrinsic(llvm::Intrinsic::uadd_with_overflow, before, due.counts);
    auto* after = builder.CreateExtractValue(sum, 0);
    builder.CreateStore(after, counted_);
    llvm::Instruction* full =
        llvm::SplitBlockAndInsertIfThen(builder.CreateExtractValue(sum, 1), due.where, /*Unreachable=*/false,
                                        llvm::MDBuilder(context).createBranchWeights(1, kPortion));
    builder.SetInsertPoint(full);
    charge(builder.CreateAdd(after, builder.getInt64(kPortion)), full);
    builder.CreateStore(start_value(context), counted_);
}

void NestBehind::finish() {
    llvm::LLVMContext& context = preheader_->getContext();
    llvm::IRBuilder<> builder(preheader_->getTerminator());
    builder.CreateStore(start_value(context), counted_);
    for (llvm::BasicBlock* exit : exits_) {
        llvm::Instruction* place = &*exit->getFirstInsertionPt();
        builder.SetInsertPoint(place);
        auto* rest = builder.CreateLoad(builder.getInt64Ty(), counted_);
        charge(builder.CreateAdd(rest, builder.getInt64(kPortion)), place);
    }
    llvm::DominatorTree dominators(*preheader_->getParent());
    llvm::PromoteMemToReg({counted_}, dominators);
}

}  // namespace understudy::toolchain
