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
#include <vector>

#include "guest/toolchain/charge.hpp"
#include "guest/toolchain/charged_loop.hpp"

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

bool is_counted(const llvm::Function& function) {
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

// Sources of all retreating edges of a depth-first search: every cycle of the CFG, be it a natural loop, an irreducible
// one, or made of computed gotos or unwind edges, has such an edge.
Latches find_latches(const llvm::Function& function) {
    llvm::SmallVector<std::pair<const llvm::BasicBlock*, const llvm::BasicBlock*>, 16> edges;
    llvm::FindFunctionBackedges(function, edges);
    Latches latches;
    for (const auto& [from, to] : edges) {
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
        charge(1, place);
    }
}

class CountPass : public llvm::PassInfoMixin<CountPass> {
  public:
    static llvm::PreservedAnalyses run(llvm::Function& function, llvm::FunctionAnalysisManager& analyses);
    // Without this, functions compiled at -O0 would be passed over.
    static bool isRequired() { return true; }  // NOLINT(readability-identifier-naming)
};

llvm::PreservedAnalyses CountPass::run(llvm::Function& function, llvm::FunctionAnalysisManager& analyses) {
    if (!is_counted(function)) {
        return llvm::PreservedAnalyses::all();
    }
    auto& loops = analyses.getResult<llvm::LoopAnalysis>(function);
    auto& evolution = analyses.getResult<llvm::ScalarEvolutionAnalysis>(function);
    const auto& target = analyses.getResult<llvm::TargetIRAnalysis>(function);
    const llvm::DataLayout& layout = function.getParent()->getDataLayout();
    Latches latches = find_latches(function);

    std::vector<ChargedLoop> charged;
    for (llvm::Loop* loop : loops.getLoopsInPreorder()) {
        if (auto candidate = as_charged_loop(*loop, latches, evolution, target)) {
            charged.push_back(*candidate);
        }
    }
    // What is charged at the start of each block; constants that meet in one block become one charge.
    llvm::MapVector<llvm::BasicBlock*, std::uint64_t> block_charges;
    if (counts_entry(function)) {
        block_charges[&function.getEntryBlock()] += 1;
    }
    for (const ChargedLoop& loop : charged) {
        latches.erase(loop.latch);
    }
    for (llvm::BasicBlock& block : function) {
        if (latches.contains(&block)) {
            block_charges[&block] += 1;
        }
    }
    // The trip counts are evaluated before any loop is rebuilt: rebuilding leaves the analyses behind.
    llvm::SCEVExpander expander(evolution, layout, "trips");
    std::vector<std::pair<const ChargedLoop*, llvm::Value*>> evaluated;
    for (const ChargedLoop& loop : charged) {
        if (loop.back_edges == nullptr) {
            continue;
        }
        llvm::Type* i64 = llvm::Type::getInt64Ty(function.getContext());
        const auto* back_edges = evolution.getNoopOrZeroExtend(loop.back_edges, i64);
        if (const auto* constant = llvm::dyn_cast<llvm::SCEVConstant>(back_edges);
            constant != nullptr && loop.most_back_edges < kMaxCharge) {
            block_charges[loop.preheader] += loop.most_back_edges + 1;
        } else {
            // The expander may return a value of the program's own. The freeze is a use of it, which keeps it when the
            // exit condition that it served goes away; and it settles a count that a loop never entered leaves open.
            llvm::Instruction* end = loop.preheader->getTerminator();
            llvm::IRBuilder<> builder(end);
            evaluated.emplace_back(&loop, builder.CreateFreeze(expander.expandCodeFor(back_edges, i64, end)));
        }
    }
    for (const auto& [loop, back_edges] : evaluated) {
        if (loop->most_back_edges < kMaxCharge) {
            charge_in_preheader(*loop, back_edges);
        } else {
            charge_in_strips(*loop, back_edges);
        }
    }
    for (const ChargedLoop& loop : charged) {
        if (loop.back_edges == nullptr) {
            charge_at_exits(loop);
        }
    }
    for (auto& [block, counts] : block_charges) {
        for (; counts > kMaxCharge; counts -= kMaxCharge) {
            charge(kMaxCharge, first_place(*block));
        }
        charge(counts, first_place(*block));
    }
    charge_second_returns(function);
    function.addFnAttr(llvm::Attribute::NoRedZone);  // the way to the trap pushes a return address
    return llvm::PreservedAnalyses::none();
}

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
