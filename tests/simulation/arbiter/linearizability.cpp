#include "tests/simulation/arbiter/linearizability.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <unordered_set>

namespace understudy::arbiter::simulation {
namespace {

class Search {
  public:
    explicit Search(const std::vector<Operation>& history) : history_(history) {}

    bool run(std::uint64_t done, const std::optional<VmRecord>& state) {
        std::int64_t first_answer = std::numeric_limits<std::int64_t>::max();
        bool open = false;
        for (std::size_t i = 0; i < history_.size(); ++i) {
            if ((done >> i & 1U) == 0 && history_[i].answered) {
                first_answer = std::min(first_answer, *history_[i].answered);
                open = true;
            }
        }
        if (!open) {
            return true;  // what is left was never answered and need not have happened
        }
        if (!visited_.insert(key(done, state)).second) {
            return false;
        }
        for (std::size_t i = 0; i < history_.size(); ++i) {
            const auto& operation = history_[i];
            if ((done >> i & 1U) != 0 || operation.called > first_answer) {
                continue;
            }
            auto next = state;
            if (step(operation, next) && run(done | std::uint64_t{1} << i, next)) {
                return true;
            }
        }
        return false;
    }

  private:
    // Applies the operation; false if its answer would have been another.
    static bool step(const Operation& operation, std::optional<VmRecord>& state) {
        const bool answered = operation.answered.has_value();
        const auto current = [&] { return state ? std::optional(state->state) : std::nullopt; };
        if (std::holds_alternative<ReadOperation>(operation.request)) {
            return !answered || operation.answer.current == current();
        }
        const auto decision = decide(state, std::get<VmOperation>(operation.request));
        return !answered || operation.answer == Answer{decision.granted, decision.reason, current()};
    }

    static std::string key(std::uint64_t done, const std::optional<VmRecord>& state) {
        std::string out;
        Encoder encoder(out);
        encoder.u64(done);
        if (state) {
            encode(encoder, *state);
        }
        return out;
    }

    const std::vector<Operation>& history_;
    std::unordered_set<std::string> visited_;
};

std::string text(const ReadOperation& read) {
    return "read " + read.vm;
}
std::string text(const VmOperation& operation) {
    if (const auto* form = std::get_if<FormRequest>(&operation)) {
        return fmt::format("form {} {}->{} by {} [{}]", form->vm, form->expected.value, form->next.value,
                           form->proposer, fmt::join(form->members, ","));
    }
    if (const auto* end = std::get_if<EndRequest>(&operation)) {
        return fmt::format("end {} g{} by {}", end->vm, end->generation.value, end->replica);
    }
    const auto& test = std::get<TestAndSetRequest>(operation);
    return fmt::format("test_and_set {} g{} by {}", test.vm, test.generation.value, test.candidate);
}
std::string text(const std::optional<VmState>& state) {
    return state ? fmt::format("g{} [{}] winner {}", state->generation.value, fmt::join(state->members, ","),
                               state->winner.value_or("-"))
                 : "none";
}

}  // namespace

const VmId& vm_of(const Operation& operation) {
    const auto* read = std::get_if<ReadOperation>(&operation.request);
    return read != nullptr ? read->vm : vm_of(std::get<VmOperation>(operation.request));
}

std::string describe(const Operation& operation) {
    const auto what = std::visit([](const auto& request) { return text(request); }, operation.request);
    if (!operation.answered) {
        return fmt::format("{:>9} .. never answered: {}", operation.called, what);
    }
    return fmt::format("{:>9} .. {:>9}: {} = {} (reason {}) {}", operation.called, *operation.answered, what,
                       operation.answer.granted ? "yes" : "no", static_cast<int>(operation.answer.reason),
                       text(operation.answer.current));
}

std::string not_linearizable(const std::vector<Operation>& history) {
    if (history.size() > kMaxOperations) {
        return "the history is too long to be judged";
    }
    if (Search(history).run(0, std::nullopt)) {
        return {};
    }
    std::string out = "the history is not linearizable:";
    for (const auto& operation : history) {
        out += "\n    " + describe(operation);
    }
    return out;
}

}  // namespace understudy::arbiter::simulation
