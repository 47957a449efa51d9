#include "tests/integration/arbiter/contest.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::arbiter::testing {
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

Contest::Contest(boost::asio::io_context& io, const std::string& url, VmId vm, milliseconds patience)
    : vm_(std::move(vm)), patience_(patience), clients_{connect(io, url), connect(io, url)} {}

void Contest::start() {
    form();
}

void Contest::form() {
    if (stopping_) {
        stopped_ = true;
        return;
    }
    const std::vector<ReplicaId> both(names_.begin(), names_.end());
    const std::vector<ReplicaId> members = generation_ == 0 ? std::vector<ReplicaId>{names_[owner_]} : both;
    clients_[owner_]->form({vm_, {generation_}, {generation_ + 1}, names_[owner_], members}, patience_,
                           [this](const Outcome& outcome) {
                               if (outcome.verdict == Verdict::yes) {
                                   ++generation_;
                                   ask();
                               } else if (outcome.verdict == Verdict::unknown) {
                                   ++unknowns_;
                                   form();  // the same question again: it gets the same answer
                               } else {
                                   violations_.push_back("the owner may not form: " + outcome.explanation);
                                   stopped_ = true;
                               }
                           });
}

void Contest::ask() {
    answers_ = 0;
    somebody_won_ = false;
    for (std::size_t who = 0; who < 2; ++who) {
        clients_[who]->test_and_set({vm_, {generation_}, names_[who]}, patience_,
                                    [this, who](const Outcome& outcome) { answered(who, outcome); });
    }
}

void Contest::answered(std::size_t who, const Outcome& outcome) {
    if (outcome.verdict == Verdict::yes) {
        const auto [it, first] = winners_.emplace(generation_, who);
        if (!first) {
            violations_.push_back(fmt::format("generation {} of {} has two winners", generation_, vm_));
        }
        somebody_won_ = true;
        owner_ = who;
    }
    unknowns_ += outcome.verdict == Verdict::unknown ? 1 : 0;
    if (++answers_ < 2) {
        return;
    }
    ++rounds_;
    if (somebody_won_) {
        form();
    } else {
        recover();
    }
}

// Nobody knows to have won: ask who did.
void Contest::recover() {
    clients_[0]->read(vm_, patience_, [this](const Outcome& outcome) {
        if (outcome.verdict != Verdict::yes) {
            ++unknowns_;
            recover();
        } else if (!outcome.current->winner) {
            ask();
        } else {
            owner_ = *outcome.current->winner == names_[0] ? 0 : 1;
            form();
        }
    });
}

void Contest::check(const Outcome& now) {
    if (generation_ == 0) {
        return;  // nothing was acknowledged
    }
    if (now.verdict != Verdict::yes || !now.current || now.current->generation.value < generation_) {
        violations_.push_back(
            fmt::format("generation {} of {} was acknowledged and is gone: {}", generation_, vm_, now.explanation));
        return;
    }
    const auto it = winners_.find(now.current->generation.value);
    if (it != winners_.end() && now.current->winner != names_.at(it->second)) {
        violations_.push_back(fmt::format("{} won generation {} of {} and the arbiter says {}", names_.at(it->second),
                                          now.current->generation.value, vm_, now.current->winner.value_or("nobody")));
    }
}

Contests::Contests(const std::string& url, std::size_t count, milliseconds patience) : reader_(connect(io_, url)) {
    for (std::size_t i = 0; i < count; ++i) {
        contests_.push_back(std::make_unique<Contest>(io_, url, fmt::format("vm{}", i), patience));
        contests_.back()->start();
    }
}

bool Contests::advance(std::uint64_t rounds) {
    std::vector<std::uint64_t> goals;
    for (const auto& contest : contests_) {
        goals.push_back(contest->rounds() + rounds);
    }
    const auto deadline = Clock::now() + std::chrono::seconds(60);
    const auto done = [&] {
        for (std::size_t i = 0; i < goals.size(); ++i) {
            if (contests_[i]->rounds() < goals[i]) {
                return false;
            }
        }
        return true;
    };
    while (!done()) {
        if (Clock::now() > deadline) {
            return false;
        }
        io_.run_one_for(milliseconds(100));
    }
    return true;
}

std::string Contests::verdict() {
    for (auto& contest : contests_) {
        contest->stop();
    }
    const auto deadline = Clock::now() + std::chrono::seconds(60);
    const auto all_stopped = [&] {
        return std::all_of(contests_.begin(), contests_.end(), [](const auto& contest) { return contest->stopped(); });
    };
    while (!all_stopped() && Clock::now() < deadline) {
        io_.run_one_for(milliseconds(100));
    }
    if (!all_stopped()) {
        return "the load does not come to an end: operations are without an answer";
    }
    std::size_t read = 0;
    for (auto& contest : contests_) {
        reader_->read(contest->vm(), milliseconds(15'000), [&](const Outcome& outcome) {
            contest->check(outcome);
            ++read;
        });
    }
    while (read < contests_.size()) {
        io_.run_one_for(milliseconds(100));
    }
    for (const auto& contest : contests_) {
        if (!contest->violations().empty()) {
            return contest->violations().front();
        }
    }
    return {};
}

std::uint64_t Contests::unknowns() const {
    std::uint64_t sum = 0;
    for (const auto& contest : contests_) {
        sum += contest->unknowns();
    }
    return sum;
}

}  // namespace understudy::arbiter::testing
