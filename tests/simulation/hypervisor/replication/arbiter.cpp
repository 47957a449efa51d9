#include "tests/simulation/hypervisor/replication/arbiter.hpp"

#include <fmt/ranges.h>

#include <memory>
#include <utility>

#include "tests/simulation/hypervisor/replication/world.hpp"

namespace understudy::replication::simulation {
namespace {

constexpr Time kTimeout = std::chrono::milliseconds(200);

std::string describe(const arbiter::FormRequest& request) {
    return fmt::format("form generation {} of {}", request.next.value, fmt::join(request.members, ", "));
}

std::string describe(const arbiter::TestAndSetRequest& request) {
    return fmt::format("win generation {}", request.generation.value);
}

std::string describe(const arbiter::Outcome& outcome) {
    using arbiter::Verdict;
    const char* const verdict = outcome.verdict == Verdict::yes  ? "yes"
                                : outcome.verdict == Verdict::no ? "no"
                                                                 : "unknown";
    return outcome.explanation.empty() ? verdict : fmt::format("{}: {}", verdict, outcome.explanation);
}

}  // namespace

std::optional<arbiter::VmState> Arbiter::state() const {
    return record_ ? std::optional(record_->state) : std::nullopt;
}

void Arbiter::ask(Replica& replica, const Request& request, Answer answer) {
    world_.note(Detail::messages, replica.id(), "asks the arbiter to {}",
                std::visit([](const auto& r) { return describe(r); }, request));
    ++asked_;
    const auto answered = std::make_shared<bool>(false);
    const auto reply = [this, &replica, answer = std::move(answer), answered](const arbiter::Outcome& outcome) {
        if (!std::exchange(*answered, true)) {
            world_.tally().unknown_answers += outcome.verdict == arbiter::Verdict::unknown ? 1 : 0;
            world_.note(Detail::messages, replica.id(), "the arbiter's answer: {}", describe(outcome));
            answer(outcome);
        }
    };
    world_.after(kTimeout, replica, [reply] { reply({arbiter::Verdict::unknown, std::nullopt, "no answer"}); });
    if (!has_majority_) {
        return;
    }
    for (const Time way : world_.pace().asking()) {
        world_.after(way, [this, &replica, request, reply, question = asked_] {
            const auto before = record_;
            const auto outcome = arrived(replica, question, request);
            if (before != record_) {
                world_.at_a_tender_moment(replica);
            }
            const auto way_back = world_.pace().answering();
            if (outcome && has_majority_ && way_back) {
                world_.after(*way_back, replica, [reply, outcome] { reply(*outcome); });
            }
        });
    }
}

// Nothing: it was overtaken.
std::optional<arbiter::Outcome> Arbiter::arrived(const Replica& replica, std::uint64_t question,
                                                 const Request& request) {
    if (!world_.setting().arbiter_is_orderly) {
        return decide(request);
    }
    Decided& newest = newest_[replica.id()];
    if (question < newest.question) {
        return std::nullopt;
    }
    if (question > newest.question) {
        newest = {question, decide(request)};
    }
    return newest.outcome;
}

arbiter::Outcome Arbiter::decide(const Request& request) {
    const auto before = record_;
    const auto decision = std::visit([this](const auto& r) { return arbiter::decide(record_, r); }, request);
    const auto current = state();
    if (current && before != record_) {
        world_.note(Detail::course, "arbiter", "generation {} is {}{}", current->generation.value,
                    fmt::join(current->members, ", "), current->winner ? ", won by " + *current->winner : "");
    }
    return {decision.granted ? arbiter::Verdict::yes : arbiter::Verdict::no, current,
            arbiter::explain(decision.reason, kVm, current)};
}

}  // namespace understudy::replication::simulation
