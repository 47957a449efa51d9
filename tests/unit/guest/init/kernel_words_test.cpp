#include "guest/init/kernel_words.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace understudy::init {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(KernelWords, WithoutAnyTheImagesInitRuns) {
    const KernelWords words = sort_kernel_words({}, "console=hvc0 quiet \n");
    EXPECT_EQ(words.program, "/sbin/init");
    EXPECT_THAT(words.for_program, IsEmpty());
    EXPECT_THAT(words.command, IsEmpty());
}

TEST(KernelWords, WhatTheKernelDoesNotKnowIsForTheImagesInit) {
    const KernelWords words = sort_kernel_words({"single"}, "console=hvc0 quiet single init=/bin/sh\n");
    EXPECT_EQ(words.program, "/bin/sh");
    EXPECT_THAT(words.for_program, ElementsAre("single"));
    EXPECT_THAT(words.command, IsEmpty());
}

TEST(KernelWords, BehindTheDashesStandsACommand) {
    const KernelWords words =
        sort_kernel_words({"splash", "sh", "-c", "echo  $A", "init=x"}, "quiet splash -- sh -c \"echo  $A\" init=x\n");
    EXPECT_THAT(words.for_program, ElementsAre("splash"));
    EXPECT_THAT(words.command, ElementsAre("sh", "-c", "echo  $A", "init=x"));
    EXPECT_EQ(words.program, "/sbin/init");
}

// The kernel itself hands over what stands before the second ones, and forgets the rest.
TEST(KernelWords, SecondDashesBelongToTheCommand) {
    const KernelWords words =
        sort_kernel_words({"single", "echo", "one"}, "quiet single -- echo one -- two -- three\n");
    EXPECT_THAT(words.for_program, ElementsAre("single"));
    EXPECT_THAT(words.command, ElementsAre("echo", "one", "--", "two", "--", "three"));
    EXPECT_THAT(sort_kernel_words({}, "-- -- two").command, ElementsAre("--", "two"));
}

TEST(KernelWords, QuotesHoldAWordTogetherWhereverTheyStand) {
    const KernelWords words = sort_kernel_words({"a=b c", "-- d"}, "x=\"y -- z\" -- a=\"b c\" \"-- d\"");
    EXPECT_THAT(words.for_program, IsEmpty());
    EXPECT_THAT(words.command, ElementsAre("a=b c", "-- d"));
}

TEST(KernelWords, AreWithoutTheQuotesThatTheKernelTakesAway) {
    EXPECT_EQ(sort_kernel_words({}, "init=\"/bin/with space\" quiet").program, "/bin/with space");
    EXPECT_EQ(sort_kernel_words({}, "\"init=/bin/with space\" quiet").program, "/bin/with space");
    EXPECT_THAT(sort_kernel_words({}, "-- \"a b\" c\"d e\" f=\"\" \"g=h i\" i=j\"k\" \"\" \"l m\" n=\"").command,
                ElementsAre("a b", "c\"d e\"", "f=", "g=h i", "i=j\"k\"", "", "l m", "n="));
    EXPECT_THAT(sort_kernel_words({}, "quiet \"--\" echo").command, ElementsAre("echo"));
}

TEST(KernelWords, FewerThanThereAreLeaveNoneForTheImagesInit) {
    EXPECT_THAT(sort_kernel_words({"one"}, "-- one two").for_program, IsEmpty());
}

}  // namespace
}  // namespace understudy::init
