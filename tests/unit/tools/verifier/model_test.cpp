#include "tools/verifier/model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/tools/verifier/fake_store.hpp"

namespace understudy::tools {
namespace {

using testing::FakeStore;
using testing::Fault;

struct Outcome {
    std::uint64_t acknowledged = 0;
    std::uint64_t lost = 0;
    std::uint64_t contradictions = 0;
    std::vector<std::string> findings;
};

void judge(KeyModel& model, FakeStore& store, const KeyRequest& request, Outcome& outcome) {
    std::string bytes = request.bytes;
    const auto words = testing::take_request(bytes);
    ASSERT_FALSE(words.empty());
    ASSERT_TRUE(bytes.empty());
    const auto judgement = model.judge(request, store.execute(words));
    outcome.acknowledged += judgement.acknowledged_write ? 1 : 0;
    outcome.lost += judgement.lost_writes;
    outcome.contradictions += judgement.contradiction ? 1 : 0;
    if (!judgement.finding.empty()) {
        outcome.findings.push_back(judgement.finding);
    }
}

Outcome run(const Fault& fault, std::size_t requests = 5000) {
    KeyModel model("run:7", 12);
    FakeStore store(fault);
    Outcome outcome;
    for (std::size_t i = 0; i < requests; ++i) {
        judge(model, store, model.next(), outcome);
    }
    for (std::size_t key = 0; key < model.keys(); ++key) {
        judge(model, store, model.read(key), outcome);
    }
    return outcome;
}

TEST(KeyModel, FindsNothingWrongWithAnHonestServer) {
    const auto outcome = run({});
    EXPECT_EQ(outcome.acknowledged, 2500U);
    EXPECT_EQ(outcome.lost, 0U);
    EXPECT_EQ(outcome.contradictions, 0U);
}

TEST(KeyModel, EveryLostWriteIsFoundOnce) {
    for (const char* command : {"SET", "INCR", "APPEND"}) {
        for (const std::size_t at : {1U, 2U, 3U, 77U, 400U}) {
            const auto outcome = run({.kind = Fault::Kind::lose_write, .at_write = at, .command = command});
            EXPECT_EQ(outcome.lost, 1U) << command << " " << at << ::testing::PrintToString(outcome.findings);
            EXPECT_EQ(outcome.contradictions, 0U) << command << " " << at;
        }
    }
}

TEST(KeyModel, EveryRepeatedIncrementAndAppendIsFoundOnce) {
    for (const char* command : {"INCR", "APPEND"}) {
        for (const std::size_t at : {1U, 2U, 77U, 400U}) {
            const auto outcome = run({.kind = Fault::Kind::repeat_write, .at_write = at, .command = command});
            EXPECT_EQ(outcome.contradictions, 1U) << command << " " << at << ::testing::PrintToString(outcome.findings);
            EXPECT_EQ(outcome.lost, 0U) << command << " " << at;
        }
    }
}

TEST(KeyModel, AppendedOutOfOrderIsAContradiction) {
    const auto outcome = run({.kind = Fault::Kind::swap_appended, .at_write = 50, .command = "APPEND"});
    EXPECT_EQ(outcome.contradictions, 1U);
    EXPECT_THAT(outcome.findings, ::testing::ElementsAre(::testing::HasSubstr("was acknowledged")));
}

TEST(KeyModel, AnErrorIsNoAcknowledgement) {
    const auto outcome = run({.kind = Fault::Kind::answer_error, .at_write = 10});
    EXPECT_EQ(outcome.acknowledged, 2499U);
    EXPECT_EQ(outcome.contradictions, 1U);
    EXPECT_THAT(outcome.findings, ::testing::ElementsAre(::testing::HasSubstr("ERR out of luck")));
}

TEST(KeyModel, AWriteInDoubtMayHaveHappenedOrNot) {
    for (const bool happened : {false, true}) {
        KeyModel model("run:7", 3);
        FakeStore store;
        Outcome outcome;
        for (int i = 0; i < 600; ++i) {
            const auto request = model.next();
            if (i % 10 == 0 && request.is_write()) {
                if (happened) {
                    std::string bytes = request.bytes;
                    store.execute(testing::take_request(bytes));
                }
                model.leave_in_doubt(request);
                const auto next = model.next();
                EXPECT_FALSE(next.is_write());
                EXPECT_EQ(next.key, request.key);
                judge(model, store, next, outcome);
            } else {
                judge(model, store, request, outcome);
            }
        }
        EXPECT_GT(outcome.acknowledged, 200U);
        EXPECT_EQ(outcome.lost, 0U) << ::testing::PrintToString(outcome.findings);
        EXPECT_EQ(outcome.contradictions, 0U) << ::testing::PrintToString(outcome.findings);
    }
}

TEST(KeyModel, AServerThatForgetsAllHasLostAll) {
    KeyModel model("run:7", 3);
    Outcome outcome;
    FakeStore store;
    while (outcome.acknowledged < 30) {
        judge(model, store, model.next(), outcome);
    }
    FakeStore empty;
    for (std::size_t key = 0; key < model.keys(); ++key) {
        judge(model, empty, model.read(key), outcome);
    }
    EXPECT_EQ(outcome.lost, 1U + 10U + 1U);  // the newest SET, each INCR, the newest APPEND
}

TEST(KeyModel, MemoryStaysBounded) {
    KeyModel model("run:7", 3);
    FakeStore store;
    Outcome outcome;
    std::size_t longest = 0;
    for (int i = 0; i < 20'000; ++i) {
        const auto request = model.next();
        longest = std::max(longest, request.value.size());
        judge(model, store, request, outcome);
    }
    EXPECT_LE(longest, 300U);
    EXPECT_TRUE(outcome.findings.empty());
}

}  // namespace
}  // namespace understudy::tools
