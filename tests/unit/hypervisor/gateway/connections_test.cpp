#include "hypervisor/gateway/connections.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include "tests/unit/hypervisor/gateway/frames.hpp"

namespace understudy::network {
namespace {

using testing::kAck;
using testing::kFin;
using testing::kSyn;
using testing::make_frame;

constexpr std::uint16_t kPeerPort = 40000;
constexpr int kSocket = 7;

class ConnectionsTest : public ::testing::Test {
  protected:
    // Of a client of the host's; the peer's next byte is 101, the guest's 1001.
    void open() {
        connections_.accepted(kSocket, htons(kPeerPort));
        to_guest(kSyn, 100, 0);
        EXPECT_TRUE(from_guest(kSyn | kAck, 1000, 101));
        to_guest(kAck, 101, 1001);
    }
    void to_guest(unsigned flags, std::uint32_t sequence, std::uint32_t acknowledged) {
        connections_.to_guest(make_frame({.peer_port = kPeerPort,
                                          .sequence = sequence,
                                          .acknowledged = acknowledged,
                                          .flags = static_cast<std::uint8_t>(flags)}));
    }
    bool from_guest(unsigned flags, std::uint32_t sequence, std::uint32_t acknowledged, std::string_view data = {}) {
        const bool admitted = connections_.from_guest(make_frame({.from_guest = true,
                                                                  .peer_port = kPeerPort,
                                                                  .sequence = sequence,
                                                                  .acknowledged = acknowledged,
                                                                  .flags = static_cast<std::uint8_t>(flags),
                                                                  .data = data}));
        connections_.put_in();
        return admitted;
    }
    void peer_ends_and_then_the_guest() {
        to_guest(kFin | kAck, 101, 1001);
        EXPECT_TRUE(from_guest(kFin | kAck, 1001, 102));
        to_guest(kAck, 102, 1002);
    }

    Connections connections_;
};

TEST_F(ConnectionsTest, OneThatBothHaveEndedIsOver) {
    open();
    to_guest(kFin | kAck, 101, 1001);
    EXPECT_TRUE(from_guest(kAck, 1001, 102));
    EXPECT_TRUE(from_guest(kFin | kAck, 1001, 102));
    EXPECT_FALSE(connections_.is_over(kSocket)) << "the guest's end may come again";
    to_guest(kAck, 102, 1002);
    EXPECT_TRUE(connections_.is_over(kSocket));
    const auto endings = connections_.take_endings({});
    ASSERT_EQ(endings.size(), 1U);
    const auto reset = parse_tcp(endings.front());
    ASSERT_TRUE(reset);
    EXPECT_EQ(reset->begin, Sequence{1002});
    EXPECT_EQ(ntohs(reset->destination_port), kPeerPort);
    EXPECT_FALSE(connections_.any_over()) << "told once";
    connections_.closed(kSocket);
}

TEST_F(ConnectionsTest, NotBeforeItsSocketHasTakenWhatTheGuestSaid) {
    open();
    peer_ends_and_then_the_guest();
    EXPECT_TRUE(connections_.take_endings(std::vector{kSocket}).empty());
    EXPECT_TRUE(connections_.is_over(kSocket));
    EXPECT_EQ(connections_.take_endings({}).size(), 1U);
}

TEST_F(ConnectionsTest, NotBeforeTheGuestHasTheEndOfItsPeer) {
    open();
    to_guest(kFin | kAck, 101, 1001);
    EXPECT_TRUE(from_guest(kFin | kAck, 1001, 101));
    to_guest(kAck, 102, 1002);
    EXPECT_FALSE(connections_.any_over());
    EXPECT_TRUE(from_guest(kAck, 1002, 102));
    EXPECT_TRUE(connections_.is_over(kSocket));
}

TEST_F(ConnectionsTest, OneThatLibslirpHasClosedIsForgotten) {
    open();
    peer_ends_and_then_the_guest();
    connections_.closed(kSocket);
    EXPECT_FALSE(connections_.any_over());
    EXPECT_TRUE(connections_.take_endings({}).empty());
}

TEST_F(ConnectionsTest, AnotherOneBetweenTheSamePortsBeginsAnew) {
    open();
    peer_ends_and_then_the_guest();
    connections_.accepted(kSocket + 1, htons(kPeerPort));
    to_guest(kSyn, 100'000, 0);
    EXPECT_FALSE(connections_.is_over(kSocket));
    EXPECT_FALSE(connections_.is_over(kSocket + 1));
    connections_.closed(kSocket);
    connections_.closed(kSocket + 1);
}

TEST_F(ConnectionsTest, OfOneThatTheGuestOpensItsPeerMayBeTheFirstToEnd) {
    EXPECT_TRUE(connections_.from_guest(
        make_frame({.from_guest = true, .peer_port = kPeerPort, .sequence = 1000, .flags = kSyn})));
    connections_.connecting(kSocket);
    connections_.put_in();
    to_guest(kSyn | kAck, 100, 1001);
    EXPECT_TRUE(from_guest(kAck, 1001, 101));
    peer_ends_and_then_the_guest();
    EXPECT_TRUE(connections_.is_over(kSocket));
}

TEST_F(ConnectionsTest, ASocketThatNoFrameOpensIsNobodys) {
    connections_.connecting(kSocket);
    EXPECT_TRUE(from_guest(kAck, 1001, 101));
    connections_.closed(kSocket);
}

TEST_F(ConnectionsTest, BehindAGapLittleIsKept) {
    open();
    unsigned admitted = 0;
    for (std::uint32_t i = 0; i < 1000; ++i) {
        admitted += from_guest(kAck, 2000 + 4 * i, 101, "x") ? 1 : 0;
    }
    EXPECT_EQ(admitted, Connections::kMostAhead);
    EXPECT_TRUE(from_guest(kAck, 1001, 101, "x")) << "what fills it";
    EXPECT_TRUE(from_guest(kAck, 9000, 101)) << "an acknowledgement keeps nothing";
    to_guest(kAck, 101, 2001);
    EXPECT_TRUE(from_guest(kAck, 2004, 101, "x"));
}

}  // namespace
}  // namespace understudy::network
