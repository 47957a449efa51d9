// Thousands of schedules of failures against the roles, the output gate and the arbiter's answers.
//
//   UNDERSTUDY_SEEDS=N   how many schedules (default 5000)
//   UNDERSTUDY_SEED=S    that one only, told step by step
#include "tests/simulation/hypervisor/replication/simulation.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>

#include "hypervisor/replication/decision/mutation.hpp"

namespace understudy::replication::simulation {
namespace {

std::optional<std::uint64_t> from_environment(const char* variable) {
    const char* text = std::getenv(variable);
    return text == nullptr ? std::nullopt : std::optional(std::strtoull(text, nullptr, 10));
}

// Detail as in the environment, for those who look for something in one schedule.
Detail detail_from_environment() {
    return std::getenv("UNDERSTUDY_MESSAGES") == nullptr ? Detail::course : Detail::messages;
}

void add(Tally& sum, const Tally& tally) {
    sum.generations += tally.generations;
    sum.kills += tally.kills;
    sum.takeovers += tally.takeovers;
    sum.survivals += tally.survivals;
    sum.depositions += tally.depositions;
    sum.unknown_answers += tally.unknown_answers;
    sum.undecided_forms += tally.undecided_forms;
    sum.outputs += tally.outputs;
}

TEST(Simulation, NoScheduleMakesTheReplicasContradictEachOther) {
    if (const auto seed = from_environment("UNDERSTUDY_SEED")) {
        const Result result = simulate(*seed, detail_from_environment());
        for (const std::string& line : result.story) {
            std::cout << line << "\n";
        }
        ASSERT_EQ(result.violation, "") << "seed " << *seed;
        return;
    }
    const std::uint64_t seeds = from_environment("UNDERSTUDY_SEEDS").value_or(5000);
    Tally sum;
    std::uint64_t lost = 0;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        const Result result = simulate(seed);
        ASSERT_EQ(result.violation, "") << "replay it with UNDERSTUDY_SEED=" << seed;
        add(sum, result.tally);
        lost += result.lost ? 1 : 0;
    }
    std::cout << seeds << " schedules: " << sum.generations << " generations, " << sum.kills << " kills, "
              << sum.takeovers << " takeovers, " << sum.survivals << " primaries that won, " << sum.depositions
              << " deposed, " << sum.unknown_answers << " unknown answers, " << sum.undecided_forms
              << " backups lost while form was undecided, " << sum.outputs << " outputs, " << lost
              << " VMs whose only replica was killed\n";
    // The schedules reach what they are for.
    EXPECT_GT(sum.generations, 3 * seeds);
    EXPECT_GT(sum.takeovers, seeds);
    EXPECT_GT(sum.survivals, seeds / 2);
    EXPECT_GT(sum.depositions, seeds / 10);
    EXPECT_GT(sum.undecided_forms, seeds / 50);
}

// Each mistake must be found within this many schedules.
constexpr std::uint64_t kPatience = 2000;

struct Mistake {
    const char* name;
    Mutation mutation;
};

class SimulationBites : public ::testing::TestWithParam<Mistake> {
  protected:
    void SetUp() override { active_mutation<Mutation> = GetParam().mutation; }
    void TearDown() override { active_mutation<Mutation> = Mutation::none; }
};

TEST_P(SimulationBites, TheMistakeIsFound) {
    for (std::uint64_t seed = 1; seed <= kPatience; ++seed) {
        const Result result = simulate(seed);
        if (!result.violation.empty()) {
            std::cout << GetParam().name << ": found by seed " << seed << ": " << result.violation << "\n";
            return;
        }
    }
    FAIL() << GetParam().name << " survived " << kPatience << " schedules";
}

INSTANTIATE_TEST_SUITE_P(
    Mistakes, SimulationBites,
    ::testing::Values(Mistake{"release_before_acknowledgement", Mutation::release_before_acknowledgement},
                      Mistake{"forget_the_gate", Mutation::forget_the_gate},
                      Mistake{"form_before_coverage", Mutation::form_before_coverage},
                      Mistake{"speak_on_unknown", Mutation::speak_on_unknown},
                      Mistake{"speak_while_form_is_undecided", Mutation::speak_while_form_is_undecided},
                      Mistake{"loser_goes_on", Mutation::loser_goes_on},
                      Mistake{"acknowledge_after_suspicion", Mutation::acknowledge_after_suspicion},
                      Mistake{"go_live_undrained", Mutation::go_live_undrained},
                      Mistake{"no_resend", Mutation::no_resend},
                      Mistake{"report_before_release", Mutation::report_before_release}),
    [](const auto& mistake) { return std::string(mistake.param.name); });

}  // namespace
}  // namespace understudy::replication::simulation
