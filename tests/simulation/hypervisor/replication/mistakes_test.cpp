// Deliberate bugs in the core (hypervisor/replication/decision/mutation.hpp): a simulation that does not find them
// proves nothing about the others.
#include <gtest/gtest.h>

#include <cstdint>
#include <iostream>
#include <string>

#include "hypervisor/replication/decision/mutation.hpp"
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
