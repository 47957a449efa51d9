// The verifying client against a server of PostgreSQL's protocol on loopback: an honest one, and one for each thing
// that it must catch.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include "common/error.hpp"
#include "tests/unit/tools/verifier/fake_postgres.hpp"
#include "tools/verifier/verifier.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using testing::FakePostgres;
using testing::kWrongAt;
using testing::Wrong;

VerifierConfig config_for(const std::string& address) {
    return {.server = address, .protocol = Protocol::postgres, .connections = 4, .rate = 0};
}

VerifierFigures verify(Wrong wrong) {
    const FakePostgres server(wrong);
    Verifier verifier(config_for(server.address()));
    verifier.start();
    while (verifier.since_start().acknowledged_writes < 2 * kWrongAt) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_TRUE(verifier.check());
    EXPECT_TRUE(verifier.final_check());
    return verifier.since_start();
}

TEST(PostgresVerifier, AnHonestServerPasses) {
    const VerifierFigures figures = verify(Wrong::nothing);
    EXPECT_TRUE(figures.clean()) << figures.first_finding;
    EXPECT_EQ(figures.unanswered, 0U);
}

struct Catch {
    Wrong wrong;
    std::uint64_t lost;
    std::uint64_t contradictions;
    std::uint64_t dropped;
};

class PostgresVerifierCatches : public ::testing::TestWithParam<Catch> {};

TEST_P(PostgresVerifierCatches, WhatTheServerDoesWrong) {
    const VerifierFigures figures = verify(GetParam().wrong);
    EXPECT_EQ(figures.lost_acknowledged_writes, GetParam().lost) << figures.first_finding;
    EXPECT_EQ(figures.contradictions, GetParam().contradictions) << figures.first_finding;
    EXPECT_EQ(figures.dropped_connections, GetParam().dropped) << figures.first_finding;
    EXPECT_FALSE(figures.first_finding.empty());
}

INSTANTIATE_TEST_SUITE_P(Faults, PostgresVerifierCatches,
                         ::testing::Values(Catch{Wrong::lose, 1, 0, 0}, Catch{Wrong::lose_the_line, 1, 0, 0},
                                           Catch{Wrong::repeat, 0, 1, 0}, Catch{Wrong::fail, 0, 1, 0},
                                           Catch{Wrong::drop, 0, 0, 1}, Catch{Wrong::answer_twice, 0, 1, 0}));

TEST(PostgresVerifier, AServerThatIsNotThereIsAnErrorThatNamesIt) {
    std::string address;
    {
        const FakePostgres gone;
        address = gone.address();
    }
    Verifier verifier(config_for(address));
    try {
        verifier.start(50ms);
        FAIL();
    } catch (const Error& error) {
        EXPECT_THAT(error.what(), ::testing::HasSubstr(address));
        EXPECT_THAT(error.what(), ::testing::HasSubstr("refused"));
    }
}

}  // namespace
}  // namespace understudy::tools
