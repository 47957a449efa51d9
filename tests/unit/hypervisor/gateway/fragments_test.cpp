#include "hypervisor/gateway/fragments.hpp"

#include <gtest/gtest.h>

namespace understudy::network {
namespace {

using namespace std::chrono_literals;

constexpr std::uint8_t kUdp = 17;
constexpr std::uint8_t kTcp = 6;

class FragmentsTest : public ::testing::Test {
  protected:
    bool admits(std::uint16_t id, std::size_t offset, std::size_t size, bool more, std::uint8_t protocol = kUdp) {
        return fragments_.admits({.source = 1,
                                  .destination = 2,
                                  .id = id,
                                  .protocol = protocol,
                                  .payload_size = size,
                                  .fragment_offset = offset,
                                  .more_fragments = more},
                                 now_);
    }

    Fragments fragments_;
    Fragments::Clock::time_point now_{1h};
};

TEST_F(FragmentsTest, WhatIsWholePasses) {
    for (std::uint16_t id = 0; id < 1000; ++id) {
        EXPECT_TRUE(admits(id, 0, 8, false));
    }
    EXPECT_TRUE(admits(1, 0, 8, false, kTcp));
}

TEST_F(FragmentsTest, DatagramsInOrderPassHoweverMany) {
    for (std::uint16_t id = 0; id < 1000; ++id) {
        EXPECT_TRUE(admits(id, 0, 1480, true));
        EXPECT_TRUE(admits(id, 1480, 1480, true));
        EXPECT_TRUE(admits(id, 2960, 20, false));
    }
}

TEST_F(FragmentsTest, WithGapsOverlapsOrTwiceTheyDoNot) {
    EXPECT_FALSE(admits(1, 1480, 1480, true));
    EXPECT_FALSE(admits(1, 1480, 20, false));
    EXPECT_TRUE(admits(1, 0, 1480, true));
    EXPECT_FALSE(admits(1, 0, 1480, true));
    EXPECT_FALSE(admits(1, 2960, 1480, true));
    EXPECT_FALSE(admits(1, 1472, 1480, true));
    EXPECT_TRUE(admits(1, 1480, 20, false));
}

TEST_F(FragmentsTest, TinyAndTooLargeOnesDoNotPass) {
    EXPECT_FALSE(admits(1, 0, 504, true));
    std::size_t offset = 0;
    while (admits(1, offset, 8192, true)) {
        offset += 8192;
    }
    EXPECT_EQ(offset, 57'344U);
}

TEST_F(FragmentsTest, TcpIsNotFragmented) {
    EXPECT_FALSE(admits(1, 0, 1480, true, kTcp));
    EXPECT_FALSE(admits(1, 1480, 20, false, kTcp));
}

TEST_F(FragmentsTest, FewAreIncompleteAtATime) {
    for (std::uint16_t id = 0; id < Fragments::kMostDatagrams; ++id) {
        EXPECT_TRUE(admits(id, 0, 1480, true));
    }
    EXPECT_FALSE(admits(1000, 0, 1480, true));
    EXPECT_TRUE(admits(7, 1480, 20, false));
    EXPECT_TRUE(admits(1000, 0, 1480, true));
    EXPECT_FALSE(admits(1001, 0, 1480, true));
    now_ += Fragments::kKept + 1s;
    EXPECT_TRUE(admits(1001, 0, 1480, true));
    EXPECT_FALSE(admits(1000, 1480, 20, false)) << "libslirp has forgotten its beginning";
}

}  // namespace
}  // namespace understudy::network
