#include "guest/toolchain/charged_loop.hpp"

#include <llvm/IR/CFG.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/IntrinsicInst.h>
#include <llvm/IR/MDBuilder.h>
#include <llvm/IR/ValueHandle.h>
#include <llvm/Transforms/Utils/Local.h>
#include <llvm/Transforms/Utils/ScalarEvolutionExpander.h>

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

// Cycles inside the loop, natural or not, have back-edges of their own, which the loop's trip count does not cover.
bool has_inner_cycle(const llvm::Loop& loop, const Latches& latches) {
    for (llvm::BasicBlock* block : loop.blocks()) {
        if (block != loop.getLoopLatch() && latches.contains(block)) {
            return true;
        }
    }
    return false;
}

// In a long body a charge at each iteration costs next to nothing, while a register for the count may be dear.
bool is_long(const llvm::Loop& loop) {
    constexpr std::size_t kLong = 64;
    std::size_t instructions = 0;
    for (const llvm::BasicBlock* block : loop.blocks()) {
        instructions += block->size();
    }
    return instructions > kLong;
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
    if (!loop.isLoopSimplifyForm() || loop.getLoopPreheader()->getTerminator()->getNumSuccessors() != 1 ||
        calls_something(loop)) {
        return std::nullopt;
    }
    ChargedLoop charged{loop.getLoopPreheader(), loop.getHeader(), loop.getLoopLatch(), {}, nullptr, ~std::uint64_t{0}};
    loop.getUniqueExitBlocks(charged.exits);
    charged.back_edges = has_inner_cycle(loop, latches) ? nullptr : known_back_edges(loop, evolution, target);
    if (charged.back_edges != nullptr) {
        const llvm::SCEV* guarded = evolution.applyLoopGuards(charged.back_edges, &loop);
        charged.most_back_edges = evolution.getUnsignedRangeMax(guarded).getZExtValue();
    }
    if (charged.most_back_edges < kMaxCharge) {
        return charged;
    }
    // What is left makes the code longer.
    const llvm::Function& function = *loop.getHeader()->getParent();
    const bool is_worth_it = charged.back_edges != nullptr || !is_long(loop);
    return is_worth_it && !function.hasOptSize() && !function.hasOptNone() ? std::optional(charged) : std::nullopt;
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
    llvm::BasicBlock* exit = loop.exits.front();
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
    auto* is_last = builder.CreateICmpULT(left, builder.getInt64(kMaxCharge), "is_last");
    auto* length = builder.CreateSelect(is_last, builder.CreateAdd(left, builder.getInt64(1)),
                                        builder.getInt64(kMaxCharge), "length");
    charge(length, builder.CreateBr(loop.header));

    builder.SetInsertPoint(strip_end);
    auto* left_next = builder.CreateSub(left, builder.getInt64(kMaxCharge), "left.next");
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
}

void charge_at_exits(const ChargedLoop& loop) {
    llvm::LLVMContext& context = loop.header->getContext();
    const auto portion = static_cast<std::int64_t>(kMaxCharge);
    llvm::IRBuilder<> builder(context);

    // Counts from -kMaxCharge up to 0. The test comes before the latch's own, so that the way back stays one branch.
    builder.SetInsertPoint(loop.header, loop.header->begin());
    auto* before = builder.CreatePHI(builder.getInt64Ty(), 2, "iterations");
    llvm::BasicBlock* latch = loop.latch->splitBasicBlock(loop.latch->getFirstInsertionPt(), "latch");
    auto* refill = llvm::BasicBlock::Create(context, "refill", loop.header->getParent());
    builder.SetInsertPoint(loop.latch->getTerminator());
    auto* next = builder.CreateAdd(before, builder.getInt64(1), "iterations.next");
    auto* is_full = builder.CreateICmpEQ(next, builder.getInt64(0), "is_full");
    builder.CreateCondBr(is_full, refill, latch, llvm::MDBuilder(context).createBranchWeights(1, kMaxCharge));
    loop.latch->getTerminator()->eraseFromParent();
    builder.SetInsertPoint(refill);
    charge(kMaxCharge, builder.CreateBr(latch));
    builder.SetInsertPoint(latch, latch->begin());
    auto* counted = builder.CreatePHI(builder.getInt64Ty(), 2, "iterations.counted");
    counted->addIncoming(next, loop.latch);
    counted->addIncoming(builder.getInt64(-portion), refill);
    for (llvm::BasicBlock* from : llvm::predecessors(loop.header)) {  // a switch may come from the latch more than once
        before->addIncoming(from == loop.preheader ? builder.getInt64(-portion) : static_cast<llvm::Value*>(counted),
                            from);
    }

    // Who leaves from the latch has this iteration counted, who leaves from elsewhere has not.
    for (llvm::BasicBlock* exit : loop.exits) {
        builder.SetInsertPoint(exit, exit->begin());
        auto* iterations = builder.CreatePHI(builder.getInt64Ty(), 2, "iterations.left");
        for (llvm::BasicBlock* from : llvm::predecessors(exit)) {
            iterations->addIncoming(from == latch ? counted : before, from);
        }
        llvm::Instruction* place = &*exit->getFirstInsertionPt();
        builder.SetInsertPoint(place);
        charge(builder.CreateAdd(iterations, builder.getInt64(portion)), place);
    }
}

}  // namespace understudy::toolchain
