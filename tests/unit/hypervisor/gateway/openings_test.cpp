#include "hypervisor/gateway/openings.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/hypervisor/gateway/frames.hpp"

namespace understudy::network {
namespace {

using namespace std::chrono_literals;

using testing::kAck;
using testing::kGuestPort;
using testing::kSyn;
using testing::make_frame;

class OpeningsTest : public ::testing::Test {
  protected:
    [[nodiscard]] std::vector<Frame> repeated_at(std::chrono::milliseconds time) {
        std::vector<Frame> frames;
        openings_.repeat_due(begin_ + time, [&frames](std::span<const std::byte> frame) {
            frames.emplace_back(frame.begin(), frame.end());
        });
        return frames;
    }

    static Frame syn(std::uint16_t peer_port) {
        return make_frame({.peer_port = peer_port, .sequence = 1, .flags = kSyn});
    }
    static Frame answer(std::uint16_t peer_port) {
        return make_frame(
            {.from_guest = true, .peer_port = peer_port, .sequence = 1, .acknowledged = 2, .flags = kSyn | kAck});
    }

    Openings openings_;
    const Openings::Clock::time_point begin_{1h};
};

TEST_F(OpeningsTest, ASynIsRepeatedUntilTheGuestAnswers) {
    EXPECT_EQ(openings_.until_due(begin_), std::nullopt);
    openings_.to_guest(syn(1), begin_);
    EXPECT_EQ(openings_.until_due(begin_), 50ms);
    EXPECT_TRUE(repeated_at(49ms).empty());
    EXPECT_EQ(repeated_at(50ms), std::vector<Frame>{syn(1)});
    EXPECT_TRUE(repeated_at(149ms).empty());
    EXPECT_EQ(repeated_at(150ms).size(), 1U);
    openings_.from_guest(answer(2));  // of another connection
    EXPECT_EQ(repeated_at(60s).size(), 1U);
    openings_.from_guest(answer(1));
    EXPECT_TRUE(repeated_at(70s).empty());
    EXPECT_EQ(openings_.until_due(begin_), std::nullopt);
}

TEST_F(OpeningsTest, WhatLibslirpHasGivenUpIsForgotten) {
    openings_.to_guest(syn(1), begin_);
    openings_.to_guest(syn(1), begin_ + 42s);  // its own last repetition
    EXPECT_TRUE(repeated_at(75s + 1ms).empty());
    EXPECT_EQ(openings_.until_due(begin_), std::nullopt);
}

TEST_F(OpeningsTest, AsManyWaitForAPortAsTheGuestIsTrustedToHold) {
    for (std::uint16_t port = 0; port < Openings::kMaxPerPort; ++port) {
        EXPECT_TRUE(openings_.room(kGuestPort));
        openings_.to_guest(syn(port), begin_);
        openings_.to_guest(syn(port), begin_);  // libslirp's own repetition
    }
    EXPECT_FALSE(openings_.room(kGuestPort));
    EXPECT_TRUE(openings_.room(80));
    openings_.from_guest(answer(7));
    EXPECT_TRUE(openings_.room(kGuestPort));
}

TEST_F(OpeningsTest, AnotherConnectionBetweenTheSamePortsBeginsAnew) {
    openings_.to_guest(syn(1), begin_);
    openings_.to_guest(make_frame({.peer_port = 1, .sequence = 100, .flags = kSyn}), begin_ + 70s);
    EXPECT_EQ(repeated_at(80s).size(), 1U);
}

TEST_F(OpeningsTest, OnlyASynOpensAConnection) {
    openings_.to_guest(make_frame({.peer_port = 1, .sequence = 1, .data = "hello"}), begin_);
    openings_.to_guest(answer(1), begin_);
    openings_.to_guest(Frame(60), begin_);
    EXPECT_EQ(openings_.until_due(begin_), std::nullopt);
}

}  // namespace
}  // namespace understudy::network
