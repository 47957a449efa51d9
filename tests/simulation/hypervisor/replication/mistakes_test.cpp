// Deliberate bugs in the core (hypervisor/replication/decision/mutation.hpp): a simulation that does not find them
// proves nothing about the others.
#include <gtest/gtest.h>

#include <cstdint>
#include <iostream>
#include <string>

#include "hypervisor/replication/decision/mutation.hpp"
#include "tests/simulation/hypervisor/replication/environment.hpp"
#include "tests/simulation/hypervisor/replication/simulation.hpp"

namespace understudy::replication::simulation {
namespace {

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

    // In how many schedules the mistake shows, if somebody asks for a number of them.
    static void count() {
        const std::uint64_t seeds = from_environment("UNDERSTUDY_SEEDS").value_or(0);
        std::uint64_t found = 0;
        for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
            found += simulate(seed).violation.empty() ? 0 : 1;
        }
        if (seeds > 0) {
            std::cout << GetParam().name << ": found in " << found << " of " << seeds << " schedules\n";
        }
    }
};

TEST_P(SimulationBites, TheMistakeIsFound) {
    if (const auto violation = violation_of_the_seed_asked_for()) {
        ASSERT_NE(*violation, "");
        return;
    }
    for (std::uint64_t seed = 1; seed <= kPatience; ++seed) {
        if (const std::string violation = simulate(seed).violation; !violation.empty()) {
            std::cout << GetParam().name << ": found by seed " << seed << ": " << violation << "\n";
            EXPECT_EQ(simulate(seed, Detail::everything).violation, violation) << "the seed does not reproduce it";
            return count();
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
                      Mistake{"report_before_release", Mutation::report_before_release},
                      Mistake{"report_while_queued", Mutation::report_while_queued}),
    [](const auto& mistake) { return std::string(mistake.param.name); });

}  // namespace
}  // namespace understudy::replication::simulation
