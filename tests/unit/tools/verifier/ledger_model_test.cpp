// What the verifying client makes of a PostgreSQL server's answers: an honest ledger, and one for each thing to catch.
#include "tools/verifier/ledger_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

namespace understudy::tools {
namespace {

using ::testing::HasSubstr;
using Operation = LedgerRequest::Operation;

// One teller's part of the tables, and what a server answers that holds them.
struct Ledger {
    std::int64_t transactions = 0;
    std::int64_t balance = 0;
    std::vector<LedgerRequest> lines{};

    LedgerAnswer execute(const LedgerRequest& request) {
        switch (request.operation) {
            case Operation::transfer:
                ++transactions;
                balance += request.amount;
                lines.push_back(request);
                return {.numbers = {transactions, balance}};
            case Operation::read: {
                std::set<std::int64_t> numbers;
                for (const LedgerRequest& line : lines) {
                    numbers.insert(line.number);
                }
                return {.numbers = {transactions, balance, static_cast<std::int64_t>(lines.size()),
                                    static_cast<std::int64_t>(numbers.size()), sum()}};
            }
            case Operation::sums:
                return {.numbers = {balance, balance, sum()}};
            case Operation::prepare:
                break;
        }
        return {};
    }

    [[nodiscard]] std::int64_t sum() const {
        std::int64_t amounts = 0;
        for (const LedgerRequest& line : lines) {
            amounts += line.amount;
        }
        return amounts;
    }
};

class Transactions : public ::testing::Test {
  protected:
    Judgement ask(const LedgerRequest& request) { return model_.judge(request, ledger_.execute(request)); }
    void transfer(int times) {
        for (int i = 0; i < times; ++i) {
            const LedgerRequest request = model_.next();
            ASSERT_EQ(request.operation, Operation::transfer);
            const Judgement judgement = ask(request);
            EXPECT_TRUE(judgement.acknowledged_write);
            EXPECT_EQ(judgement.finding, "");
        }
    }
    // Nothing is found by either read.
    void expect_clean() {
        for (const LedgerRequest& request : {model_.read(), model_.sums()}) {
            const Judgement judgement = ask(request);
            EXPECT_EQ(judgement.finding, "");
            EXPECT_EQ(judgement.lost_writes, 0U);
            EXPECT_FALSE(judgement.contradiction);
        }
    }

    LedgerModel model_{"verify_x", 3, 8};
    Ledger ledger_;
};

TEST_F(Transactions, OfAnHonestServerLeaveNothingToFind) {
    EXPECT_EQ(ask(model_.prepare()).finding, "");
    transfer(100);
    expect_clean();
}

TEST_F(Transactions, ThatAreLostAreCountedOnce) {
    transfer(10);
    const Ledger before = ledger_;
    transfer(3);
    ledger_ = before;
    const Judgement judgement = ask(model_.read());
    EXPECT_EQ(judgement.lost_writes, 3U);
    EXPECT_FALSE(judgement.contradiction);
    EXPECT_THAT(judgement.finding, HasSubstr("teller 3 has 10 transactions"));
    expect_clean();
    transfer(3);
    expect_clean();
}

TEST_F(Transactions, ThatAreLostShowInTheNextAnswer) {
    transfer(10);
    const Ledger before = ledger_;
    transfer(2);
    ledger_ = before;
    const Judgement judgement = ask(model_.next());
    EXPECT_TRUE(judgement.acknowledged_write);
    EXPECT_EQ(judgement.lost_writes, 2U);
    EXPECT_EQ(model_.next().operation, Operation::read) << "to know what is there";
    expect_clean();
    transfer(1);
}

TEST_F(Transactions, ThatTheLedgerAloneMissesAreLost) {
    transfer(10);
    ledger_.lines.pop_back();
    EXPECT_EQ(ask(model_.read()).lost_writes, 1U);
}

TEST_F(Transactions, ThatAreExecutedTwiceAreAContradiction) {
    transfer(1);
    const LedgerRequest request = model_.next();
    ledger_.execute(request);
    const Judgement judgement = ask(request);
    EXPECT_TRUE(judgement.contradiction);
    EXPECT_EQ(judgement.lost_writes, 0U);
    EXPECT_THAT(judgement.finding, HasSubstr("teller 3 answered 3, "));
}

TEST_F(Transactions, ThatStandTwiceInTheLedgerAreAContradiction) {
    transfer(5);
    ledger_.lines.push_back(ledger_.lines.back());
    EXPECT_TRUE(ask(model_.read()).contradiction);
    EXPECT_TRUE(ask(model_.sums()).contradiction);
    expect_clean();
}

TEST_F(Transactions, WithoutAnAnswerMayHaveHappenedOrNot) {
    for (const bool happened : {false, true}) {
        transfer(5);
        const LedgerRequest request = model_.next();
        if (happened) {
            ledger_.execute(request);
        }
        model_.leave_in_doubt(request);
        const LedgerRequest next = model_.next();
        EXPECT_EQ(next.operation, Operation::read);
        EXPECT_EQ(ask(next).finding, "") << happened;
        transfer(5);
        expect_clean();
    }
}

TEST_F(Transactions, ThatFailAreAContradictionAndRolledBack) {
    const LedgerRequest request = model_.next();
    const Judgement judgement = model_.judge(request, {.error = "ERROR: out of luck"});
    EXPECT_TRUE(judgement.contradiction);
    EXPECT_FALSE(judgement.acknowledged_write);
    EXPECT_THAT(judgement.finding, HasSubstr("out of luck"));
    const LedgerRequest next = model_.next();
    EXPECT_EQ(next.operation, Operation::read);
    EXPECT_TRUE(next.sql.starts_with("ROLLBACK; "));
    EXPECT_EQ(ask(next).finding, "");
    transfer(1);
}

TEST_F(Transactions, OfEverybodyHaveTheSameSums) {
    const Judgement judgement = model_.judge(model_.sums(), {.numbers = {5, 5, 6}});
    EXPECT_TRUE(judgement.contradiction);
    EXPECT_THAT(judgement.finding, HasSubstr("5, 5, 6"));
    EXPECT_EQ(model_.judge(model_.sums(), {.numbers = {5, 5, 6}}).finding, "") << "said once";
}

TEST_F(Transactions, ThatTheServerDoesNotKnowOfAreMissed) {
    EXPECT_TRUE(model_.judge(model_.read(), {}).contradiction);
    EXPECT_TRUE(model_.judge(model_.sums(), {}).contradiction);
}

}  // namespace
}  // namespace understudy::tools
