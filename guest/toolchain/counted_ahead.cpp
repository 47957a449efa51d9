#include "guest/toolchain/counted_ahead.hpp"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/IntrinsicInst.h>
#include <llvm/IR/ValueHandle.h>
#include <llvm/Transforms/Utils/Local.h>
#include <llvm/Transforms/Utils/ScalarEvolutionExpander.h>

#include <vector>

#include "guest/toolchain/charge.hpp"

namespace understudy::toolchain {
namespace {

// What an evaluation of the trip count may cost, in the expander's units: a few additions and shifts, no division.
constexpr unsigned kTripCountBudget = 4;

// Cycles inside the loop, natural or not, have back-edges of their own, which the loop's trip count does not cover.
bool has_inner_cycle(const llvm::Loop& loop, const Latches& latches) {
    for (llvm::BasicBlock* block : loop.blocks()) {
        if (block != loop.getLoopLatch() && latches.contains(block)) {
            return true;
        }
    }
    return false;
}

// The number of back-edges, if it can be had cheaply in the preheader and is exact.
const llvm::SCEV* known_back_edges(llvm::Loop& loop, llvm::ScalarEvolution& evolution,
                                   const llvm::TargetTransformInfo& target) {
    const auto* branch = llvm::dyn_cast<llvm::BranchInst>(loop.getLoopLatch()->getTerminator());
    if (loop.getExitingBlock() != loop.getLoopLatch() || branch == nullptr || !branch->isConditional()) {
        return nullptr;
    }
    const llvm::SCEV* back_edges = evolution.getBackedgeTakenCount(&loop);
    if (llvm::isa<llvm::SCEVCouldNotCompute>(back_edges) || evolution.getTypeSizeInBits(back_edges->getType()) > 64) {
        return nullptr;
    }
    llvm::BasicBlock* preheader = loop.getLoopPreheader();
    llvm::Instruction* end = preheader->getTerminator();
    llvm::SCEVExpander expander(evolution, preheader->getModule()->getDataLayout(), "trips");
    const bool is_cheap = llvm::isSafeToExpandAt(back_edges, end, evolution) &&
                          !expander.isHighCostExpansion(back_edges, &loop, kTripCountBudget, &target, end);
    return is_cheap ? back_edges : nullptr;
}

// Takes the latch's own exit condition away, and every induction variable that served it alone.
void drop_exit_condition(const LoopAhead& loop) {
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

bool LoopAhead::needs_strips() const {
    return most_back_edges >= kPortion;
}

std::optional<LoopAhead> as_loop_ahead(llvm::Loop& loop, const Latches& latches, llvm::ScalarEvolution& evolution,
                                       const llvm::TargetTransformInfo& target) {
    if (!loop.isLoopSimplifyForm() || loop.getLoopPreheader()->getTerminator()->getNumSuccessors() != 1 ||
        has_inner_cycle(loop, latches) || calls_something(loop)) {
        return std::nullopt;
    }
    const llvm::SCEV* back_edges = known_back_edges(loop, evolution, target);
    if (back_edges == nullptr) {
        return std::nullopt;
    }
    const llvm::SCEV* guarded = evolution.applyLoopGuards(back_edges, &loop);
    const LoopAhead ahead{&loop,
                          loop.getLoopPreheader(),
                          loop.getHeader(),
                          loop.getLoopLatch(),
                          loop.getUniqueExitBlock(),
                          back_edges,
                          evolution.getUnsignedRangeMax(guarded).getZExtValue()};
    // Strips make the code longer.
    return ahead.needs_strips() && loop.getHeader()->getParent()->hasOptSize() ? std::nullopt : std::optional(ahead);
}

Due due_in_preheader(const LoopAhead& loop, llvm::Value* back_edges) {
    llvm::Instruction* end = loop.preheader->getTerminator();
    llvm::IRBuilder<> builder(end);
    return {builder.CreateAdd(back_edges, builder.getInt64(1)), end};
}

Due due_in_strips(const LoopAhead& loop, llvm::Value* back_edges) {
    drop_exit_condition(loop);
    llvm::LLVMContext& context = loop.header->getContext();
    llvm::Function* function = loop.header->getParent();
    auto* strip = llvm::BasicBlock::Create(context, "strip", function, loop.header);
    llvm::BasicBlock* exit = loop.exit;
    auto* strip_end = llvm::BasicBlock::Create(context, "strip_end", function, exit);
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
    auto* is_last = builder.CreateICmpULT(left, builder.getInt64(kPortion), "is_last");
    auto* length = builder.CreateSelect(is_last, builder.CreateAdd(left, builder.getInt64(1)),
                                        builder.getInt64(kPortion), "length");
    const Due due{length, builder.CreateBr(loop.header)};

    builder.SetInsertPoint(strip_end);
    auto* left_next = builder.CreateSub(left, builder.getInt64(kPortion), "left.next");
    builder.CreateCondBr(is_last, exit, strip);
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
    exit->replacePhiUsesWith(loop.latch, strip_end);
    return due;
}

}  // namespace understudy::toolchain
