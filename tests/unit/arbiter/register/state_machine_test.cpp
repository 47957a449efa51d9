#include "arbiter/register/state_machine.hpp"

#include <gtest/gtest.h>

namespace understudy::arbiter {
namespace {

Command claim(std::uint64_t client, std::uint64_t sequence, const VmId& vm, const ReplicaId& who, LogClock clock = {}) {
    return {clock, {1, client}, sequence, 0, FormRequest{vm, {0}, {1}, who, {who}}};
}

TEST(StateMachine, ARepeatedCommandGetsItsFirstAnswerAlsoAfterARestore) {
    StateMachine machine;
    ASSERT_TRUE(machine.apply(claim(1, 1, "vm", "a")).answer.granted);
    const auto refused = machine.apply(claim(2, 1, "vm", "b"));
    ASSERT_FALSE(refused.answer.granted);
    StateMachine restored;
    ASSERT_TRUE(restored.restore(machine.snapshot()));
    for (auto* one : {&machine, &restored}) {
        const auto again = one->apply(claim(2, 1, "vm", "b"));
        EXPECT_TRUE(again.repeated);
        EXPECT_EQ(again.answer, refused.answer);
        // Even if the same sequence number came with something else.
        EXPECT_EQ(one->apply(claim(2, 1, "other", "b")).answer, refused.answer);
        EXPECT_FALSE(one->read("other"));
    }
    EXPECT_EQ(machine.snapshot(), restored.snapshot());
}

TEST(StateMachine, WhatTheClientHasSeenIsForgotten) {
    StateMachine machine;
    ASSERT_TRUE(machine.apply(claim(1, 1, "vm1", "a")).answer.granted);
    auto second = claim(1, 2, "vm2", "a");
    second.answered_below = 2;
    ASSERT_TRUE(machine.apply(second).answer.granted);
    const auto late = machine.apply(claim(1, 1, "vm1", "a"));
    EXPECT_TRUE(late.repeated);
    EXPECT_EQ(late.answer.reason, Reason::superseded);
}

TEST(StateMachine, IdleSessionsEndByTheLogsClock) {
    StateMachine machine;
    static_cast<void>(machine.apply(claim(1, 1, "vm1", "a")));
    static_cast<void>(machine.apply(claim(2, 1, "vm2", "a", LogClock(kSessionIdle))));
    EXPECT_EQ(machine.sessions(), 2U);
    static_cast<void>(machine.apply(claim(2, 2, "vm3", "a", LogClock(kSessionIdle) + LogClock(1))));
    EXPECT_EQ(machine.sessions(), 1U);
    // A clock that goes back is not believed.
    static_cast<void>(machine.apply(claim(2, 3, "vm4", "a")));
    EXPECT_EQ(machine.clock(), LogClock(kSessionIdle) + LogClock(1));
}

TEST(StateMachine, TooManyOutstandingCommandsAreRefused) {
    StateMachine machine;
    EXPECT_EQ(machine.apply(claim(1, kMaxOutstanding, "vm", "a")).answer.reason, Reason::invalid);
    EXPECT_TRUE(machine.apply(claim(1, kMaxOutstanding - 1, "vm", "a")).answer.granted);
}

TEST(StateMachine, ADamagedSnapshotChangesNothing) {
    StateMachine machine;
    static_cast<void>(machine.apply(claim(1, 1, "vm", "a")));
    const auto good = machine.snapshot();
    for (std::size_t size = 1; size < good.size(); ++size) {
        EXPECT_FALSE(machine.restore(std::string_view(good).substr(0, size)));
    }
    EXPECT_EQ(machine.snapshot(), good);
}

TEST(StateMachine, ListsInPages) {
    StateMachine machine;
    std::uint64_t sequence = 0;
    for (const auto* vm : {"c", "a", "b"}) {
        static_cast<void>(machine.apply(claim(1, ++sequence, vm, "r")));
    }
    const auto page = machine.list("a", 1);
    ASSERT_EQ(page.size(), 1U);
    EXPECT_EQ(page[0].first, "b");
    EXPECT_EQ(machine.list("", 10).size(), 3U);
}

TEST(StateMachine, CommandsSurviveEncoding) {
    const auto command = claim(3, 9, "vm", "a", LogClock(77));
    const auto decoded = Command::decode(command.encode());
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->encode(), command.encode());
    EXPECT_EQ(decoded->sequence, 9U);
    EXPECT_FALSE(Command::decode(command.encode() + "x"));
}

}  // namespace
}  // namespace understudy::arbiter
