#include "guest/toolchain/charged_loop.hpp"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/IntrinsicInst.h>
#include <llvm/IR/ValueHandle.h>
#include <llvm/Transforms/Utils/Local.h>

#include <vector>

#include "guest/toolchain/charge.hpp"

namespace understudy::toolchain {
namespace {

// What an evaluation of the trip count may cost, in the expander's units: a few additions and shifts, no division.
constexpr unsigned kTripCountBudget = 4;

bool calls_something(const llvm::Loop& loop) {
    for (const llvm::BasicBlock* block : loop.blocks()) {
        for (const llvm::Instruction& instruction : *block) {
            if (llvm::isa<llvm::CallBase>(instruction) && !llvm::isa<llvm::IntrinsicInst>(instruction)) {
                return true;
            }
        }
    }
    return false;
}

// An irreducible cycle inside the loop has back-edges of its own, which the loop's trip count does not cover.
bool has_inner_cycle(const llvm::Loop& loop, const Latches& latches) {
    for (llvm::BasicBlock* block : loop.blocks()) {
        if (block != loop.getLoopLatch() && latches.contains(block)) {
            return true;
        }
    }
    return false;
}

bool has_vectors(const llvm::Loop& loop) {
    for (const llvm::BasicBlock* block : loop.blocks()) {
        for (const llvm::Instruction& instruction : *block) {
            if (instruction.getType()->isVectorTy()) {
                return true;
            }
        }
    }
    return false;
}

// The scalar loop that handles what a vectorized one leaves over: too short to be worth a second loop around it.
bool is_remainder(const llvm::Loop& loop) {
    return llvm::findOptionMDForLoop(&loop, "llvm.loop.isvectorized") != nullptr && !has_vectors(loop);
}

// Takes the latch's own exit condition away, and every induction variable that served it alone.
void drop_exit_condition(const ChargedLoop& loop) {
    auto* branch = llvm::cast<llvm::BranchInst>(loop.latch->getTerminator());
    auto* condition = branch->getCondition();
    branch->setCondition(llvm::ConstantInt::getFalse(condition->getContext()));
    llvm::RecursivelyDeleteTriviallyDeadInstructions(condition);
    std::vector<llvm::WeakTrackingVH> carried;
    for (llvm::PHINode& phi : loop.header->phis()) {
        carried.emplace_back(&phi);
    }
    for (const llvm::WeakTrackingVH& value : carried) {
        if (auto* phi = llvm::dyn_cast_or_null<llvm::PHINode>(value)) {
            llvm::RecursivelyDeleteDeadPHINode(phi);
        }
    }
}

}  // namespace

std::optional<ChargedLoop> as_charged_loop(llvm::Loop& loop, const Latches& latches, llvm::ScalarEvolution& evolution,
                                           const llvm::TargetTransformInfo& target) {
    llvm::BasicBlock* latch = loop.getLoopLatch();
    llvm::BasicBlock* exit = loop.getUniqueExitBlock();
    if (!loop.isInnermost() || !loop.isLoopSimplifyForm() || loop.getExitingBlock() != latch || exit == nullptr ||
        has_inner_cycle(loop, latches) || calls_something(loop)) {
        return std::nullopt;
    }
    const auto* branch = llvm::dyn_cast<llvm::BranchInst>(latch->getTerminator());
    const llvm::SCEV* back_edges = evolution.getBackedgeTakenCount(&loop);
    if (branch == nullptr || !branch->isConditional() || llvm::isa<llvm::SCEVCouldNotCompute>(back_edges) ||
        evolution.getTypeSizeInBits(back_edges->getType()) > 64) {
        return std::nullopt;
    }
    const llvm::SCEV* guarded = evolution.applyLoopGuards(back_edges, &loop);
    const std::uint64_t most = evolution.getUnsignedRangeMax(guarded).getZExtValue();
    llvm::BasicBlock* preheader = loop.getLoopPreheader();
    llvm::Instruction* end = preheader->getTerminator();
    llvm::SCEVExpander expander(evolution, preheader->getModule()->getDataLayout(), "trips");
    if (!llvm::isSafeToExpandAt(back_edges, end, evolution) ||
        expander.isHighCostExpansion(back_edges, &loop, kTripCountBudget, &target, end)) {
        return std::nullopt;
    }
    const bool in_strips = most >= kMaxCharge;
    if (in_strips && (is_remainder(loop) || latch->getParent()->hasOptSize())) {
        return std::nullopt;
    }
    return ChargedLoop{preheader, loop.getHeader(), latch, exit, back_edges, most};
}

void charge_in_preheader(const ChargedLoop& loop, llvm::Value* back_edges) {
    llvm::Instruction* end = loop.preheader->getTerminator();
    llvm::IRBuilder<> builder(end);
    charge(builder.CreateAdd(back_edges, builder.getInt64(1)), end);
}

void charge_in_strips(const ChargedLoop& loop, llvm::Value* back_edges) {
    drop_exit_condition(loop);
    llvm::LLVMContext& context = loop.header->getContext();
    llvm::Function* function = loop.header->getParent();
    auto* strip = llvm::BasicBlock::Create(context, "strip", function, loop.header);
    auto* strip_end = llvm::BasicBlock::Create(context, "strip_end", function, loop.exit);
    llvm::IRBuilder<> builder(context);

    // Loop-carried values pass through the strip.
    builder.SetInsertPoint(strip);
    for (llvm::PHINode& carried : loop.header->phis()) {
        auto* outer = builder.CreatePHI(carried.getType(), 2);
        outer->addIncoming(carried.getIncomingValueForBlock(loop.preheader), loop.preheader);
        outer->addIncoming(carried.getIncomingValueForBlock(loop.latch), strip_end);
        const auto index = static_cast<unsigned>(carried.getBasicBlockIndex(loop.preheader));
        carried.setIncomingBlock(index, strip);
        carried.setIncomingValue(index, outer);
    }
    // back_edges + 1 may be 2^64; the number of back-edges left never overflows.
    auto* left = builder.CreatePHI(builder.getInt64Ty(), 2, "left");
    auto* is_last = builder.CreateICmpULT(left, builder.getInt64(kMaxCharge), "is_last");
    auto* length = builder.CreateSelect(is_last, builder.CreateAdd(left, builder.getInt64(1)),
                                        builder.getInt64(kMaxCharge), "length");
    charge(length, builder.CreateBr(loop.header));

    builder.SetInsertPoint(strip_end);
    auto* left_next = builder.CreateSub(left, builder.getInt64(kMaxCharge), "left.next");
    builder.CreateCondBr(is_last, loop.exit, strip);
    left->addIncoming(back_edges, loop.preheader);
    left->addIncoming(left_next, strip_end);

    // The latch counts the strip down.
    builder.SetInsertPoint(loop.header, loop.header->begin());
    auto* countdown = builder.CreatePHI(builder.getInt64Ty(), 2, "countdown");
    auto* branch = llvm::cast<llvm::BranchInst>(loop.latch->getTerminator());
    builder.SetInsertPoint(branch);
    auto* countdown_next = builder.CreateSub(countdown, builder.getInt64(1), "countdown.next");
    countdown->addIncoming(length, strip);
    countdown->addIncoming(countdown_next, loop.latch);
    auto* strip_done = builder.CreateICmpEQ(countdown_next, builder.getInt64(0), "strip_done");
    auto* inner = builder.CreateCondBr(strip_done, strip_end, loop.header);
    inner->copyMetadata(*branch, {llvm::LLVMContext::MD_loop, llvm::LLVMContext::MD_dbg});
    branch->eraseFromParent();

    loop.preheader->getTerminator()->replaceSuccessorWith(loop.header, strip);
    loop.exit->replacePhiUsesWith(loop.latch, strip_end);
}

}  // namespace understudy::toolchain
