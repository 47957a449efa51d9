// The compiler pass that makes a program count: a plugin for clang 14, run after every optimization, at every level.
//
// Counted are the places that every unbounded execution must pass again and again: entries of functions, iterations of
// loops, and second returns of setjmp and its kin. The idea is Mellor-Crummey and LeBlanc's ("A software instruction
// counter", ASPLOS 1989). docs/counting.md states what exactly is counted and what it costs.
#include <llvm/Analysis/CFG.h>
#include <llvm/Analysis/LoopInfo.h>
#include <llvm/Analysis/ScalarEvolution.h>
#include <llvm/Analysis/TargetTransformInfo.h>
#include <llvm/IR/Constants.h>
#include <llvm/IR/Dominators.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/IntrinsicInst.h>
#include <llvm/IR/Module.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Passes/PassPlugin.h>
#include <llvm/Transforms/Utils/LoopSimplify.h>
#include <llvm/Transforms/Utils/ScalarEvolutionExpander.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "guest/toolchain/charge.hpp"
#include "guest/toolchain/counted_ahead.hpp"
#include "guest/toolchain/counted_behind.hpp"

namespace understudy::toolchain {
namespace {

// [[clang::annotate("understudy-uncounted")]] on a function keeps the pass away from it.
constexpr llvm::StringLiteral kUncounted = "understudy-uncounted";

bool is_annotated_uncounted(const llvm::Function& function) {
    const llvm::GlobalVariable* annotations = function.getParent()->getNamedGlobal("llvm.global.annotations");
    if (annotations == nullptr || !annotations->hasInitializer()) {
        return false;
    }
    const auto* entries = llvm::dyn_cast<llvm::ConstantArray>(annotations->getInitializer());
    if (entries == nullptr) {
        return false;
    }
    return std::any_of(entries->op_begin(), entries->op_end(), [&](const llvm::Use& use) {
        const auto* entry = llvm::cast<llvm::ConstantStruct>(use);
        const auto* text = llvm::dyn_cast<llvm::GlobalVariable>(entry->getOperand(1)->stripPointerCasts());
        const auto* data = text != nullptr && text->hasInitializer()
                               ? llvm::dyn_cast<llvm::ConstantDataArray>(text->getInitializer())
                               : nullptr;
        return entry->getOperand(0)->stripPointerCasts() == &function && data != nullptr && data->isCString() &&
               data->getAsCString() == kUncounted;
    });
}

// Where Linux keeps the code between a program and its kernel, in which the kernel's own instrumentation has no place
// either: between the processor's frame and a complete state of the kernel.
bool is_entry_code(const llvm::Function& function) {
    const llvm::StringRef section = function.getSection();
    return section.startswith(".noinstr.text") || section.startswith(".entry.text");
}

bool is_counted(const llvm::Function& function) {
    if (is_entry_code(function)) {
        return false;
    }
    // The body of an available_externally function is emitted elsewhere; a naked one has no stack frame of its own.
    return !function.isDeclaration() && !function.hasAvailableExternallyLinkage() &&
           !function.hasFnAttribute(llvm::Attribute::Naked) && !is_annotated_uncounted(function);
}

// A function that calls nothing is no part of a recursion. If besides only this module's own calls can reach it (no
// library that was not compiled by us calls it in a loop, as qsort calls its comparison) its entry need not be counted.
bool counts_entry(const llvm::Function& function) {
    const bool calls = std::any_of(llvm::inst_begin(function), llvm::inst_end(function), [](const auto& instruction) {
        return llvm::isa<llvm::CallBase>(instruction) && !llvm::isa<llvm::IntrinsicInst>(instruction);
    });
    return calls || !function.hasLocalLinkage() || function.hasAddressTaken();
}

// A call that certainly comes to a counted entry: of the function itself, or of one defined here whose entry is counted
// whatever it contains.
bool reaches_counted_entry(const llvm::Instruction& instruction, const llvm::Function& caller,
                           bool caller_counts_entry) {
    const auto* call = llvm::dyn_cast<llvm::CallBase>(&instruction);
    const llvm::Function* callee = call != nullptr ? call->getCalledFunction() : nullptr;
    if (callee == nullptr || !callee->hasExactDefinition() || !is_counted(*callee)) {
        return false;
    }
    return callee == &caller ? caller_counts_entry : !callee->hasLocalLinkage() || callee->hasAddressTaken();
}

// The retreating edges of a depth-first search: every cycle of the CFG, be it a natural loop, an irreducible
// one, or made of computed gotos or unwind edges, has such an edge. The block that it comes from is a latch.
using Edges = llvm::SmallVector<std::pair<const llvm::BasicBlock*, const llvm::BasicBlock*>, 16>;
Edges find_back_edges(const llvm::Function& function) {
    Edges edges;
    llvm::FindFunctionBackedges(function, edges);
    return edges;
}

Latches find_latches(const Edges& back_edges) {
    Latches latches;
    for (const auto& [from, to] : back_edges) {
        latches.insert(const_cast<llvm::BasicBlock*>(from));  // NOLINT(cppcoreguidelines-pro-type-const-cast)
    }
    return latches;
}

llvm::Instruction* first_place(llvm::BasicBlock& block) {
    auto place = block.getFirstInsertionPt();
    if (block.isEntryBlock()) {
        while (llvm::isa<llvm::AllocaInst>(*place)) {
            ++place;
        }
    }
    return &*place;
}

llvm::ConstantInt* constant(const llvm::Function& function, std::uint64_t value) {
    return llvm::ConstantInt::get(llvm::Type::getInt64Ty(function.getContext()), value);
}

// setjmp returns again without a function being entered or a branch taken back.
void charge_second_returns(llvm::Function& function) {
    std::vector<llvm::Instruction*> places;
    for (llvm::Instruction& instruction : llvm::instructions(function)) {
        const auto* call = llvm::dyn_cast<llvm::CallBase>(&instruction);
        if (call == nullptr || !call->hasFnAttr(llvm::Attribute::ReturnsTwice)) {
            continue;
        }
        if (const auto* invoke = llvm::dyn_cast<llvm::InvokeInst>(call)) {
            places.push_back(first_place(*invoke->getNormalDest()));
        } else if (!call->isMustTailCall()) {
            places.push_back(instruction.getNextNode());
        }
    }
    for (llvm::Instruction* place : places) {
        charge(constant(function, 1), place);
    }
}

// What a function counts, and how. Gathered while its analyses hold, then put into the code.
class Plan {
  public:
    Plan(llvm::Function& function, llvm::FunctionAnalysisManager& analyses)
        : function_(function),
          loops_(analyses.getResult<llvm::LoopAnalysis>(function)),
          evolution_(analyses.getResult<llvm::ScalarEvolutionAnalysis>(function)),
          back_edges_(find_back_edges(function)),
          latches_(find_latches(back_edges_)) {
        const auto& target = analyses.getResult<llvm::TargetIRAnalysis>(function);
        const auto& dominators = analyses.getResult<llvm::DominatorTreeAnalysis>(function);
        for (llvm::Loop* loop : loops_.getLoopsInPreorder()) {
            if (auto ahead = as_loop_ahead(*loop, latches_, evolution_, target)) {
                ahead_.push_back(*ahead);
                latches_.erase(ahead->latch);
            }
        }
        for (llvm::Loop* loop : loops_) {
            find_nests(*loop);
        }
        const bool entry_counts = counts_entry(function);
        if (entry_counts) {
            due_in_blocks_[&function.getEntryBlock()] += 1;
        }
        for (llvm::Loop* loop : loops_.getLoopsInPreorder()) {
            if (is_counted_by_calls(*loop, dominators, entry_counts)) {
                latches_.erase(loop->getLoopLatch());
            }
        }
        for (llvm::BasicBlock& block : function) {
            if (latches_.contains(&block)) {
                due_in_blocks_[&block] += 1;
            }
        }
    }

    void carry_out() {
        std::vector<std::pair<NestBehind*, Due>> dues;
        charge_ahead(dues);
        for (const auto& [block, counts] : due_in_blocks_) {
            llvm::Instruction* place = first_place(*block);
            std::uint64_t left = counts;
            for (; left > kPortion; left -= kPortion) {
                dues.push_back({nest_of(block), {constant(function_, kPortion), place}});
            }
            dues.push_back({nest_of(block), {constant(function_, left), place}});
        }
        for (const auto& [nest, due] : dues) {
            if (nest != nullptr) {
                nest->count(due);
            } else {
                charge(due.counts, due.where);
            }
        }
        for (const auto& nest : nests_) {
            nest->finish();
        }
        charge_second_returns(function_);
    }

  private:
    // The outermost loops that are counted behind; what they contain is counted with them.
    void find_nests(llvm::Loop& loop) {
        const bool is_ahead =
            std::any_of(ahead_.begin(), ahead_.end(), [&](const LoopAhead& ahead) { return ahead.loop == &loop; });
        if (!is_ahead && NestBehind::suits(loop)) {
            nests_.push_back(std::make_unique<NestBehind>(loop));
            for (llvm::BasicBlock* block : loop.blocks()) {
                nest_of_[block] = nests_.back().get();
            }
            return;
        }
        for (llvm::Loop* inner : loop) {
            find_nests(*inner);
        }
    }

    // Each iteration of the loop makes a call that counts, and its latch is that of no other cycle.
    bool is_counted_by_calls(const llvm::Loop& loop, const llvm::DominatorTree& dominators, bool entry_counts) const {
        const llvm::BasicBlock* latch = loop.getLoopLatch();
        const auto ways_back = std::count_if(back_edges_.begin(), back_edges_.end(),
                                             [&](const auto& edge) { return edge.first == latch; });
        return ways_back == 1 && std::any_of(loop.block_begin(), loop.block_end(), [&](const llvm::BasicBlock* block) {
                   return dominators.dominates(block, latch) &&
                          std::any_of(block->begin(), block->end(), [&](const llvm::Instruction& instruction) {
                              return reaches_counted_entry(instruction, function_, entry_counts);
                          });
               });
    }

    NestBehind* nest_of(llvm::BasicBlock* block) const { return nest_of_.lookup(block); }

    void charge_ahead(std::vector<std::pair<NestBehind*, Due>>& dues) {
        // The trip counts are evaluated before any loop is rebuilt: rebuilding leaves the analyses behind.
        llvm::SCEVExpander expander(evolution_, function_.getParent()->getDataLayout(), "trips");
        llvm::Type* i64 = llvm::Type::getInt64Ty(function_.getContext());
        std::vector<std::pair<const LoopAhead*, llvm::Value*>> evaluated;
        for (const LoopAhead& loop : ahead_) {
            const auto* back_edges = evolution_.getNoopOrZeroExtend(loop.back_edges, i64);
            if (llvm::isa<llvm::SCEVConstant>(back_edges) && !loop.needs_strips()) {
                due_in_blocks_[loop.preheader] += loop.most_back_edges + 1;
                continue;
            }
            // The expander may return a value of the program's own. The freeze is a use of it, which keeps it when the
            // exit condition that it served goes away; and it settles a count that a loop never entered leaves open.
            llvm::Instruction* end = loop.preheader->getTerminator();
            llvm::IRBuilder<> builder(end);
            evaluated.emplace_back(&loop, builder.CreateFreeze(expander.expandCodeFor(back_edges, i64, end)));
        }
        for (const auto& [loop, back_edges] : evaluated) {
            NestBehind* nest = nest_of(loop->preheader);
            dues.emplace_back(
                nest, loop->needs_strips() ? due_in_strips(*loop, back_edges) : due_in_preheader(*loop, back_edges));
        }
    }

    llvm::Function& function_;
    llvm::LoopInfo& loops_;
    llvm::ScalarEvolution& evolution_;
    Edges back_edges_;
    Latches latches_;  // but those of loops ahead
    std::vector<LoopAhead> ahead_;
    std::vector<std::unique_ptr<NestBehind>> nests_;
    llvm::DenseMap<llvm::BasicBlock*, NestBehind*> nest_of_;
    llvm::MapVector<llvm::BasicBlock*, std::uint64_t> due_in_blocks_;  // constants that meet in a block are one
};

class CountPass : public llvm::PassInfoMixin<CountPass> {
  public:
    static llvm::PreservedAnalyses run(llvm::Function& function, llvm::FunctionAnalysisManager& analyses) {
        if (!is_counted(function)) {
            return llvm::PreservedAnalyses::all();
        }
        Plan(function, analyses).carry_out();
        function.addFnAttr(llvm::Attribute::NoRedZone);  // the way to the trap pushes a return address
        return llvm::PreservedAnalyses::none();
    }
    // Without this, functions compiled at -O0 would be passed over.
    static bool isRequired() { return true; }  // NOLINT(readability-identifier-naming)
};

void add_count_pass(llvm::ModulePassManager& modules, llvm::OptimizationLevel level) {
    llvm::FunctionPassManager functions;
    if (level != llvm::OptimizationLevel::O0) {
        functions.addPass(llvm::LoopSimplifyPass());  // gives loops the preheader that a charge ahead goes to
    }
    functions.addPass(CountPass());
    modules.addPass(llvm::createModuleToFunctionPassAdaptor(std::move(functions)));
}

}  // namespace
}  // namespace understudy::toolchain

extern "C" LLVM_ATTRIBUTE_WEAK llvm::PassPluginLibraryInfo llvmGetPassPluginInfo() {
    return {LLVM_PLUGIN_API_VERSION, "understudy-count", "1", [](llvm::PassBuilder& builder) {
                builder.registerOptimizerLastEPCallback(understudy::toolchain::add_count_pass);
            }};
}
