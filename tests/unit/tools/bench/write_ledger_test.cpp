// What counts as lost.
#include "tools/bench/write_ledger.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace understudy::tools {
namespace {

Reply holds(std::uint64_t number) {
    return {.kind = Reply::Kind::text, .text = std::to_string(number)};
}
const Reply kNothing{.kind = Reply::Kind::nil};

bool is_clean(const Judgement& judgement) {
    return judgement.lost_writes == 0 && !judgement.contradiction && judgement.finding.empty();
}

// `acknowledged` of `count` writes, the first ones.
void write(WriteLedger& ledger, std::size_t count, std::size_t acknowledged) {
    for (std::size_t i = 0; i < count; ++i) {
        const auto write = ledger.next();
        if (i < acknowledged) {
            ledger.acknowledge(write.number);
        }
    }
}

TEST(WriteLedger, NumbersGrowAndKeysAreARing) {
    WriteLedger ledger("a");
    EXPECT_EQ(ledger.next().number, 1U);
    EXPECT_EQ(ledger.next().key, "a:2");
    write(ledger, WriteLedger::kKeys - 2, 0);
    const auto again = ledger.next();
    EXPECT_EQ(again.number, WriteLedger::kKeys + 1);
    EXPECT_EQ(again.key, "a:1");
}

TEST(WriteLedger, WhatWasAcknowledgedAndIsThereIsFine) {
    WriteLedger ledger("a");
    write(ledger, 3, 3);
    for (std::uint64_t number = 1; number <= 3; ++number) {
        EXPECT_TRUE(is_clean(ledger.judge(number, holds(number)))) << number;
    }
}

TEST(WriteLedger, WhatWasAcknowledgedAndIsNotThereIsLostOnce) {
    WriteLedger ledger("a");
    write(ledger, 1, 1);
    const auto lost = ledger.judge(1, kNothing);
    EXPECT_EQ(lost.lost_writes, 1U);
    EXPECT_FALSE(lost.contradiction);
    EXPECT_EQ(lost.finding, "a:1 holds nothing where 1 was acknowledged");
    EXPECT_TRUE(is_clean(ledger.judge(1, kNothing)));
}

TEST(WriteLedger, AnOlderStateOfAKeyIsALoss) {
    WriteLedger ledger("a");
    write(ledger, WriteLedger::kKeys + 1, WriteLedger::kKeys + 1);
    EXPECT_EQ(ledger.judge(1, holds(1)).lost_writes, 1U);
    EXPECT_TRUE(is_clean(ledger.judge(2, holds(2))));
}

TEST(WriteLedger, WhatWasNotAcknowledgedMayBeThereOrNot) {
    for (const Reply& found : {kNothing, holds(1)}) {
        WriteLedger ledger("a");
        write(ledger, 1, 0);
        EXPECT_TRUE(is_clean(ledger.judge(1, found)));
    }
    WriteLedger ledger("a");
    write(ledger, WriteLedger::kKeys + 1, WriteLedger::kKeys);
    EXPECT_TRUE(is_clean(ledger.judge(1, holds(1))));
    EXPECT_TRUE(is_clean(ledger.judge(1, holds(WriteLedger::kKeys + 1))));
}

TEST(WriteLedger, WhatNobodyWroteThereContradicts) {
    for (const Reply& found :
         {holds(2), holds(1 + WriteLedger::kKeys), holds(0), Reply{.kind = Reply::Kind::text},
          Reply{.kind = Reply::Kind::text, .text = "1x"},
          Reply{.kind = Reply::Kind::text, .text = "99999999999999999999999"},
          Reply{.kind = Reply::Kind::integer, .integer = 1}, Reply{.kind = Reply::Kind::error, .text = "ERR"}}) {
        WriteLedger ledger("a");
        write(ledger, 3, 3);
        const auto judgement = ledger.judge(1, found);
        EXPECT_TRUE(judgement.contradiction) << describe(found);
        EXPECT_EQ(judgement.lost_writes, 0U) << describe(found);
        EXPECT_FALSE(judgement.finding.empty());
    }
}

TEST(WriteLedger, AcknowledgesNothingThatWasNotWritten) {
    WriteLedger ledger("a");
    ledger.acknowledge(7);
    EXPECT_TRUE(is_clean(ledger.judge(7, kNothing)));
}

TEST(WriteLedger, ChecksWhatWasWrittenSinceTheLastCheck) {
    WriteLedger ledger("a");
    EXPECT_TRUE(ledger.keys_to_check().empty());
    write(ledger, 2, 2);
    EXPECT_EQ(ledger.keys_to_check(), (std::vector<std::size_t>{1, 2}));
    EXPECT_TRUE(ledger.keys_to_check().empty());
    write(ledger, 1, 0);
    EXPECT_EQ(ledger.keys_to_check(), (std::vector<std::size_t>{3}));
    write(ledger, 3 * WriteLedger::kKeys, 0);
    EXPECT_EQ(ledger.keys_to_check().size(), WriteLedger::kKeys);
}

}  // namespace
}  // namespace understudy::tools
