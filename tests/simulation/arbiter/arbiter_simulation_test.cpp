// Thousands of schedules of whole clusters; and the proof that the simulation bites.
//
//   arbiter_simulation_test --schedules=200000            a longer run (default 20,000), --first=SEED where to begin
//   arbiter_simulation_test --seed=42 [--mutation=NAME]   one schedule again, with a line for every event
//   arbiter_simulation_test --table[=LIMIT] [--mutation=NAME]  how many seeds each deliberate bug survives
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "arbiter/mutation.hpp"
#include "tests/simulation/arbiter/simulation.hpp"

namespace understudy::arbiter::simulation {
namespace {

constexpr unsigned kThreads = 2;
constexpr std::uint64_t kFirstSeed = 1;

struct Flags {
    std::uint64_t schedules = 20'000;
    std::uint64_t first = kFirstSeed;
    std::optional<std::uint64_t> seed;
    std::string mutation = "none";
    std::optional<std::uint64_t> table;
};
Flags& flags() {
    static Flags the_flags;
    return the_flags;
}

struct Tally {
    Verdict sum;
    std::optional<std::uint64_t> failed_seed;  // the lowest
    std::string violation;
};

// Seeds first … first + count - 1, until one fails.
Tally run_many(std::uint64_t first, std::uint64_t count) {
    Tally tally;
    std::mutex mutex;
    std::atomic<std::uint64_t> next{first};
    std::atomic<std::uint64_t> stop_at{first + count};
    const auto work = [&] {
        for (auto seed = next++; seed < stop_at; seed = next++) {
            const auto verdict = run_schedule(seed);
            const std::lock_guard lock(mutex);
            tally.sum.steps += verdict.steps;
            tally.sum.operations += verdict.operations;
            tally.sum.crashes += verdict.crashes;
            tally.sum.elections += verdict.elections;
            tally.sum.snapshots_installed += verdict.snapshots_installed;
            tally.sum.membership_changes += verdict.membership_changes;
            if (!verdict.violation.empty() && (!tally.failed_seed || seed < *tally.failed_seed)) {
                tally.failed_seed = seed;
                tally.violation = verdict.violation;
                stop_at = std::min<std::uint64_t>(stop_at, seed);
            }
        }
    };
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < kThreads; ++i) {
        threads.emplace_back(work);
    }
    threads.clear();
    return tally;
}

TEST(ArbiterSimulation, NoScheduleViolatesAnything) {
    active_mutation<Mutation> = Mutation::none;
    const auto began = std::chrono::steady_clock::now();
    const auto tally = run_many(flags().first, flags().schedules);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    fmt::print(
        "{} schedules in {:.1f} s: {} steps, {} answered operations, {} crashes, {} elections, {} snapshots "
        "installed, {} membership changes\n",
        flags().schedules, took.count(), tally.sum.steps, tally.sum.operations, tally.sum.crashes, tally.sum.elections,
        tally.sum.snapshots_installed, tally.sum.membership_changes);
    ASSERT_FALSE(tally.failed_seed) << "seed " << *tally.failed_seed << ": " << tally.violation
                                    << "\nreplay with: arbiter_simulation_test --seed=" << *tally.failed_seed;
    // A simulation in which nothing happens proves nothing.
    EXPECT_GT(tally.sum.operations, 10 * flags().schedules);
    EXPECT_GT(tally.sum.crashes, flags().schedules);
    EXPECT_GT(tally.sum.elections, flags().schedules);
}

TEST(ArbiterSimulation, TheSameSeedIsTheSameSchedule) {
    active_mutation<Mutation> = Mutation::none;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        const auto once = run_schedule(seed);
        const auto again = run_schedule(seed);
        EXPECT_EQ(once.steps, again.steps);
        EXPECT_EQ(once.operations, again.operations);
        EXPECT_EQ(once.violation, again.violation);
    }
}

std::vector<Mutation> all_mutations() {
    std::vector<Mutation> all;
    for (std::size_t i = 1; i < static_cast<std::size_t>(Mutation::count_); ++i) {
        all.push_back(static_cast<Mutation>(i));
    }
    return all;
}

std::string mutation_name(Mutation mutation) {
    return std::string(kMutationNames.at(static_cast<std::size_t>(mutation)));
}

class DeliberateBug : public testing::TestWithParam<Mutation> {};

TEST_P(DeliberateBug, IsFound) {
    active_mutation<Mutation> = GetParam();
    constexpr std::uint64_t kEnough = 6000;
    const auto tally = run_many(kFirstSeed, kEnough);
    active_mutation<Mutation> = Mutation::none;
    EXPECT_TRUE(tally.failed_seed) << mutation_name(GetParam()) << " survived " << kEnough << " seeds";
}

// Those that survive too many seeds for a run of minutes: the table in docs/arbiter.md has them all.
std::vector<Mutation> findable_mutations() {
    auto mutations = all_mutations();
    std::erase(mutations, Mutation::commit_old_term_by_count);
    std::erase(mutations, Mutation::change_before_own_commit);
    return mutations;
}

INSTANTIATE_TEST_SUITE_P(Arbiter, DeliberateBug, testing::ValuesIn(findable_mutations()),
                         [](const auto& one) { return mutation_name(one.param); });

void print_table(std::uint64_t limit) {
    const auto only = active_mutation<Mutation>;
    for (const auto mutation : all_mutations()) {
        if (only != Mutation::none && mutation != only) {
            continue;
        }
        active_mutation<Mutation> = mutation;
        const auto tally = run_many(kFirstSeed, limit);
        const auto survived = tally.failed_seed ? *tally.failed_seed - kFirstSeed : limit;
        fmt::print("| {} | {}{} | {} |\n", mutation_name(mutation), tally.failed_seed ? "" : "more than ", survived,
                   tally.violation.substr(0, std::min<std::size_t>(tally.violation.find('\n'), 110)));
        std::fflush(stdout);
    }
}

int replay(std::uint64_t seed) {
    const auto verdict = run_schedule(seed, true);
    fmt::print("seed {}: {}\n", seed, verdict.violation.empty() ? "no violation" : verdict.violation);
    return verdict.violation.empty() ? 0 : 1;
}

std::optional<std::uint64_t> number_after(std::string_view argument, std::string_view flag) {
    std::uint64_t value = 0;
    if (!argument.starts_with(flag)) {
        return std::nullopt;
    }
    const auto digits = argument.substr(flag.size());
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc{} ? std::optional(value) : std::nullopt;
}

}  // namespace
}  // namespace understudy::arbiter::simulation

int main(int argc, char** argv) {
    using namespace understudy;
    using namespace understudy::arbiter::simulation;
    testing::InitGoogleTest(&argc, argv);
    auto& the_flags = flags();
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument(argv[i]);
        if (const auto schedules = number_after(argument, "--schedules=")) {
            the_flags.schedules = *schedules;
        } else if (const auto first = number_after(argument, "--first=")) {
            the_flags.first = *first;
        } else if (const auto seed = number_after(argument, "--seed=")) {
            the_flags.seed = seed;
        } else if (argument.starts_with("--mutation=")) {
            the_flags.mutation = argument.substr(11);
        } else if (argument.starts_with("--table")) {
            the_flags.table = number_after(argument, "--table=").value_or(20'000);
        } else {
            fmt::print(stderr, "unknown argument {}\n", argument);
            return 2;
        }
    }
    const auto name = std::find(kMutationNames.begin(), kMutationNames.end(), the_flags.mutation);
    if (name == kMutationNames.end()) {
        fmt::print(stderr, "unknown mutation {}\n", the_flags.mutation);
        return 2;
    }
    active_mutation<Mutation> = static_cast<Mutation>(name - kMutationNames.begin());
    if (the_flags.seed) {
        return replay(*the_flags.seed);
    }
    if (the_flags.table) {
        print_table(*the_flags.table);
        return 0;
    }
    return RUN_ALL_TESTS();
}
