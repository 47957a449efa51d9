#include "hypervisor/gateway/packet.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/unit/hypervisor/gateway/frames.hpp"

namespace understudy::network {
namespace {

using testing::kAck;
using testing::kFin;
using testing::kSyn;
using testing::make_frame;

TEST(ParseTcp, CountsDataSynAndFinInTheSequenceSpace) {
    const auto data = parse_tcp(make_frame({.sequence = 100, .data = "hello"}));
    ASSERT_TRUE(data);
    EXPECT_EQ(data->end, Sequence{105});
    EXPECT_TRUE(data->occupies_sequence_space);
    EXPECT_FALSE(data->opens_connection);

    const auto syn = parse_tcp(make_frame({.sequence = 7, .flags = kSyn}));
    ASSERT_TRUE(syn);
    EXPECT_EQ(syn->end, Sequence{8});
    EXPECT_TRUE(syn->opens_connection);
    EXPECT_FALSE(syn->acknowledged);

    const auto fin = parse_tcp(make_frame({.sequence = 0xffffffff, .acknowledged = 3, .flags = kFin | kAck}));
    ASSERT_TRUE(fin);
    EXPECT_EQ(fin->end, Sequence{0});
    EXPECT_EQ(fin->acknowledged, Sequence{3});

    const auto ack = parse_tcp(make_frame({.sequence = 50, .acknowledged = 60}));
    ASSERT_TRUE(ack);
    EXPECT_FALSE(ack->occupies_sequence_space);
}

TEST(ParseTcp, EthernetPaddingIsNoData) {
    auto frame = make_frame({.sequence = 50});
    frame.resize(60);
    const auto segment = parse_tcp(frame);
    ASSERT_TRUE(segment);
    EXPECT_FALSE(segment->occupies_sequence_space);
}

TEST(ParseTcp, EveryTruncationAndEveryBadLengthIsRefused) {
    const auto whole = make_frame({.sequence = 1, .data = "payload"});
    for (std::size_t size = 0; size < whole.size(); ++size) {
        EXPECT_FALSE(parse_tcp(std::span(whole).first(size))) << size;
    }
    auto short_ip_header = whole;
    short_ip_header[14] = std::byte{0x44};
    EXPECT_FALSE(parse_tcp(short_ip_header));
    auto ip_header_over_the_end = whole;
    ip_header_over_the_end[14] = std::byte{0x4f};
    EXPECT_FALSE(parse_tcp(ip_header_over_the_end));
    auto tcp_header_over_the_end = whole;
    tcp_header_over_the_end[46] = std::byte{0xf0};
    EXPECT_FALSE(parse_tcp(tcp_header_over_the_end));
    auto fragment = whole;
    fragment[20] = std::byte{0x20};
    EXPECT_FALSE(parse_tcp(fragment));
    auto udp = whole;
    udp[23] = std::byte{17};
    EXPECT_FALSE(parse_tcp(udp));
}

TEST(Sequence, IsComparedModuloItsRange) {
    EXPECT_TRUE(Sequence{5}.at_or_after(Sequence{5}));
    EXPECT_TRUE(Sequence{5}.at_or_after(Sequence{0xfffffff0}));
    EXPECT_FALSE(Sequence{0xfffffff0}.at_or_after(Sequence{5}));
}

TEST(GratuitousArp, RequestFormByteByByte) {
    const std::uint8_t address[] = {10, 0, 2, 15};
    std::uint32_t stored = 0;
    std::memcpy(&stored, address, sizeof stored);
    const MacAddress mac = {0x52, 0x54, 0, 1, 2, 3};
    const auto frame = gratuitous_arp(ArpForm::request, mac, stored);
    const std::uint8_t expected[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,    1,    2,  3, 0x08, 0x06,
                                     0,    1,    0x08, 0,    6,    4,    0,    1,    0x52, 0x54, 0,  1, 2,    3,
                                     10,   0,    2,    15,   0,    0,    0,    0,    0,    0,    10, 0, 2,    15};
    const auto bytes = std::as_bytes(std::span(expected));
    EXPECT_THAT(frame, ::testing::ElementsAreArray(bytes.begin(), bytes.end()));
    EXPECT_TRUE(is_arp(frame));
    const auto reply = gratuitous_arp(ArpForm::reply, mac, stored);
    EXPECT_EQ(reply[21], std::byte{2});
    EXPECT_EQ(reply[32], std::byte{0x52});
}

}  // namespace
}  // namespace understudy::network
