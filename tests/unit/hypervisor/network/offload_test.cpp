#include "hypervisor/network/offload.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>

#include "tests/unit/hypervisor/network/packets.hpp"

namespace understudy::network {
namespace {

using testing::checksums_hold;
using testing::counting_bytes;
using testing::get16;
using testing::get32;
using testing::Octets;
using testing::PacketShape;
using testing::unfinished_frame;

std::vector<Frame> completed(const Frame& frame, std::size_t max_frame_bytes = kMaxWireFrameBytes) {
    std::vector<Frame> out;
    complete_offload(frame, out, max_frame_bytes);
    return out;
}

Frame to_be_cut(const PacketShape& shape, std::size_t payload, std::size_t segment) {
    return testing::under(testing::segment_header(shape, segment), unfinished_frame(shape, counting_bytes(payload)));
}

// The stream that a receiver makes of segments, checked as it would check them.
Octets reassemble(const std::vector<Frame>& segments, const PacketShape& shape) {
    Octets stream;
    for (const Frame& frame : segments) {
        EXPECT_TRUE(checksums_hold(frame, shape));
        EXPECT_LE(frame.size(), kMaxWireFrameBytes);
        EXPECT_EQ(get32(frame, shape.transport() + 4), static_cast<std::uint32_t>(shape.sequence + stream.size()));
        const std::size_t ip = shape.network();
        EXPECT_EQ(shape.ipv6 ? get16(frame, ip + 4) + 40 : get16(frame, ip + 2), frame.size() - ip);
        stream.insert(stream.end(), frame.begin() + static_cast<std::ptrdiff_t>(shape.payload()), frame.end());
    }
    return stream;
}

TEST(Offload, AHeaderIsReadAsItWasWritten) {
    const OffloadHeader header{1, GsoType::tcp_ipv6, 0x0203, 0x0405, 0x0607, 0x0809, 0x0a0b};
    Frame frame(kOffloadHeaderBytes);
    write_offload_header(frame, header);
    EXPECT_EQ(read_offload_header(frame), header);
    const Frame bytes{std::byte{1}, std::byte{4}, std::byte{3}, std::byte{2}, std::byte{5},    std::byte{4},
                      std::byte{7}, std::byte{6}, std::byte{9}, std::byte{8}, std::byte{0x0b}, std::byte{0x0a}};
    EXPECT_EQ(frame, bytes);
}

TEST(Offload, AFrameThatIsDoneOnlyLosesItsHeader) {
    const Octets wire = counting_bytes(60);
    EXPECT_EQ(completed(with_offload_header(wire)), std::vector<Frame>{wire});
    EXPECT_TRUE(completed(with_offload_header(counting_bytes(kMaxWireFrameBytes + 1))).empty());
    EXPECT_TRUE(completed(with_offload_header(counting_bytes(kMinFrameBytes - 1))).empty());
    EXPECT_TRUE(completed({}).empty());
}

TEST(Offload, ChecksumsAreThoseThatReceiversCompute) {
    for (const bool ipv6 : {false, true}) {
        for (const bool udp : {false, true}) {
            for (std::size_t size = 0; size <= 70; ++size) {
                const PacketShape shape{.ipv6 = ipv6, .udp = udp, .vlan_tags = size % 3};
                const Frame frame =
                    testing::under(testing::checksum_header(shape), unfinished_frame(shape, counting_bytes(size)));
                const auto done = completed(frame);
                ASSERT_EQ(done.size(), 1U);
                EXPECT_TRUE(checksums_hold(done[0], shape)) << size;
            }
        }
    }
}

// In UDP a zero says that there is no checksum.
TEST(Offload, AChecksumOfZeroIsWrittenAsAllOnes) {
    const PacketShape shape{.udp = true};
    Octets payload(2);
    Octets frame = unfinished_frame(shape, payload);
    const unsigned sum = testing::naive_sum(std::span(frame).subspan(shape.transport()));
    testing::put16(payload, 0, 0xffff - sum);
    frame = unfinished_frame(shape, payload);
    const auto done = completed(testing::under(testing::checksum_header(shape), frame));
    ASSERT_EQ(done.size(), 1U);
    EXPECT_EQ(get16(done[0], testing::checksum_at(shape)), 0xffffU);
    EXPECT_TRUE(checksums_hold(done[0], shape));
}

TEST(Offload, SegmentsMakeTheSameStream) {
    std::mt19937_64 random(1);
    for (int i = 0; i < 300; ++i) {
        const PacketShape shape{.ipv6 = random() % 2 == 0,
                                .vlan_tags = random() % 3,
                                .ip_options = random() % 3 * 8,
                                .tcp_options = random() % 11 * 4,
                                .sequence = static_cast<std::uint32_t>(random()),
                                .identification = static_cast<unsigned>(random() % 65536)};
        const std::size_t payload = random() % 65000;
        const std::size_t segment = kMinSegmentBytes + random() % 2000;
        const auto segments = completed(to_be_cut(shape, payload, segment));
        ASSERT_EQ(reassemble(segments, shape), counting_bytes(payload));
        const std::size_t step = std::min(segment, kMaxWireFrameBytes - shape.payload());
        EXPECT_EQ(segments.size(), std::max<std::size_t>(1, (payload + step - 1) / step));
    }
}

TEST(Offload, FlagsThatEndAStreamAreOfTheLastSegmentAndCwrOfTheFirst) {
    constexpr unsigned kAll = 0x80 | 0x10 | 0x08 | 0x01;  // CWR, ACK, PSH, FIN
    const PacketShape shape{.flags = kAll};
    const auto segments = completed(to_be_cut(shape, 3000, 1000));
    ASSERT_EQ(segments.size(), 3U);
    const std::size_t at = shape.transport() + 13;
    EXPECT_EQ(segments[0][at], std::byte{0x90});
    EXPECT_EQ(segments[1][at], std::byte{0x10});
    EXPECT_EQ(segments[2][at], std::byte{0x19});
    EXPECT_EQ(completed(to_be_cut(shape, 500, 1000))[0][at], std::byte{kAll});
}

TEST(Offload, SegmentsOfIpv4AreNumberedOn) {
    const PacketShape shape{.identification = 65535};
    const auto segments = completed(to_be_cut(shape, 2000, 1000));
    ASSERT_EQ(segments.size(), 2U);
    EXPECT_EQ(get16(segments[0], shape.network() + 4), 65535U);
    EXPECT_EQ(get16(segments[1], shape.network() + 4), 0U);
}

TEST(Offload, ALongFrameIsTaken) {
    const PacketShape shape{};
    const std::size_t payload = 65535 - 40;
    const Frame frame = to_be_cut(shape, payload, 1460);
    EXPECT_TRUE(is_frame_size(frame.size()));
    EXPECT_EQ(reassemble(completed(frame), shape), counting_bytes(payload));
    const Frame small = to_be_cut(shape, payload, kMinSegmentBytes);
    EXPECT_LE(completed(small).size(), kMaxSegments);
}

TEST(Offload, AHeaderIsBroughtIntoOneForm) {
    const PacketShape shape{};
    Frame frame = to_be_cut(shape, 3000, 1000);
    OffloadHeader header = read_offload_header(frame);
    header.flags |= kChecksumValid | 0xf4;
    header.header_bytes = 65535;
    header.buffers = 99;
    write_offload_header(frame, header);
    OffloadHeader expected = testing::segment_header(shape, 1000);
    expected.flags |= kChecksumValid;
    EXPECT_EQ(check_offload(frame), expected);
    // What means nothing where no offload is asked for is not passed on.
    write_offload_header(frame, {0, GsoType::none, 1, 2, 60000, 4, 5});
    EXPECT_EQ(check_offload(frame), OffloadHeader{});
}

// One thing is wrong with an otherwise sound frame.
struct Damage {
    const char* what;
    std::function<void(OffloadHeader&, Octets&)> make;
};

void expect_refused(const PacketShape& shape, const std::vector<Damage>& damages) {
    for (const Damage& damage : damages) {
        OffloadHeader header = testing::segment_header(shape, 1000);
        Octets frame = unfinished_frame(shape, counting_bytes(3000));
        ASSERT_TRUE(check_offload(testing::under(header, frame)));
        damage.make(header, frame);
        EXPECT_FALSE(check_offload(testing::under(header, frame))) << damage.what;
        EXPECT_TRUE(completed(testing::under(header, frame)).empty()) << damage.what;
    }
}

TEST(Offload, MalformedHeadersAreRefused) {
    expect_refused({}, {
                           {"no checksum", [](OffloadHeader& h, Octets&) { h.flags = 0; }},
                           {"segments of nothing", [](OffloadHeader& h, Octets&) { h.segment_bytes = 0; }},
                           {"tiny segments", [](OffloadHeader& h, Octets&) { h.segment_bytes = kMinSegmentBytes - 1; }},
                           {"another checksum's start", [](OffloadHeader& h, Octets&) { ++h.checksum_start; }},
                           {"a start beyond the frame", [](OffloadHeader& h, Octets&) { h.checksum_start = 65535; }},
                           {"another checksum's place", [](OffloadHeader& h, Octets&) { h.checksum_offset = 6; }},
                           {"a place beyond the frame", [](OffloadHeader& h, Octets&) { h.checksum_offset = 65535; }},
                           {"UDP fragmentation", [](OffloadHeader& h, Octets&) { h.gso = GsoType{3}; }},
                           {"UDP segmentation", [](OffloadHeader& h, Octets&) { h.gso = GsoType{5}; }},
                           {"ECN, which is not offered", [](OffloadHeader& h, Octets&) { h.gso = GsoType{0x81}; }},
                           {"the other IP", [](OffloadHeader& h, Octets&) { h.gso = GsoType::tcp_ipv6; }},
                       });
}

TEST(Offload, MalformedIpv4AndTcpAreRefused) {
    const std::size_t ip = PacketShape{}.network();
    const std::size_t tcp = PacketShape{}.transport();
    expect_refused({}, {
                           {"cut in IP", [=](OffloadHeader&, Octets& f) { f.resize(ip + 19); }},
                           {"cut in TCP",
                            [=](OffloadHeader&, Octets& f) {
                                f.resize(tcp + 19);
                                testing::put16(f, ip + 2, 39);
                            }},
                           {"not IP", [=](OffloadHeader&, Octets& f) { testing::put16(f, ip - 2, 0x0806); }},
                           {"three VLAN tags",
                            [](OffloadHeader&, Octets& f) {
                                for (const std::size_t at : {12U, 16U, 20U}) {
                                    testing::put16(f, at, 0x8100);
                                }
                            }},
                           {"IP version", [=](OffloadHeader&, Octets& f) { f[ip] = std::byte{0x65}; }},
                           {"short IP header", [=](OffloadHeader&, Octets& f) { f[ip] = std::byte{0x44}; }},
                           {"longer IP header", [=](OffloadHeader&, Octets& f) { f[ip] = std::byte{0x4f}; }},
                           {"IP length too long", [=](OffloadHeader&, Octets& f) { testing::put16(f, ip + 2, 3041); }},
                           {"IP length too short", [=](OffloadHeader&, Octets& f) { testing::put16(f, ip + 2, 3039); }},
                           {"a fragment", [=](OffloadHeader&, Octets& f) { testing::put16(f, ip + 6, 0x2000); }},
                           {"a later fragment", [=](OffloadHeader&, Octets& f) { testing::put16(f, ip + 6, 1); }},
                           {"UDP", [=](OffloadHeader&, Octets& f) { f[ip + 9] = std::byte{17}; }},
                           {"short TCP header", [=](OffloadHeader&, Octets& f) { f[tcp + 12] = std::byte{0x40}; }},
                           {"SYN", [=](OffloadHeader&, Octets& f) { f[tcp + 13] = std::byte{0x02}; }},
                           {"RST", [=](OffloadHeader&, Octets& f) { f[tcp + 13] = std::byte{0x14}; }},
                       });
    // A TCP header longer than the frame.
    Octets frame = unfinished_frame({}, counting_bytes(10));
    frame[tcp + 12] = std::byte{0xf0};
    EXPECT_FALSE(check_offload(testing::under(testing::segment_header({}, 1000), frame)));
}

TEST(Offload, ExtensionHeadersThatHideOrChangeWhatIsSummedAreRefused) {
    const PacketShape shape{.ipv6 = true, .ip_options = 8};
    const std::size_t ip = shape.network();
    expect_refused(shape, {
                              {"routing", [=](OffloadHeader&, Octets& f) { f[ip + 6] = std::byte{43}; }},
                              {"fragment", [=](OffloadHeader&, Octets& f) { f[ip + 6] = std::byte{44}; }},
                              {"encrypted", [=](OffloadHeader&, Octets& f) { f[ip + 6] = std::byte{50}; }},
                              {"nothing behind", [=](OffloadHeader&, Octets& f) { f[ip + 40] = std::byte{59}; }},
                              {"an extension beyond the frame",
                               [=](OffloadHeader&, Octets& f) {
                                   f[ip + 40] = std::byte{0};
                                   std::ranges::fill(f.begin() + static_cast<std::ptrdiff_t>(ip) + 48, f.end(),
                                                     std::byte{0});
                                   f.resize(ip + 60);
                                   testing::put16(f, ip + 4, 20);
                               }},
                              {"IP length", [=](OffloadHeader&, Octets& f) { testing::put16(f, ip + 4, 3027); }},
                              {"IP version", [=](OffloadHeader&, Octets& f) { f[ip] = std::byte{0x40}; }},
                          });
    // Options of 2 KiB, which each segment would have to repeat.
    const PacketShape long_options{.ipv6 = true, .ip_options = 2048};
    EXPECT_FALSE(check_offload(to_be_cut(long_options, 3000, 1000)));
}

TEST(Offload, AChecksumOutsideTheFrameIsRefused) {
    const Octets wire = counting_bytes(60);
    for (const auto& [start, offset] : {std::pair{60, 0}, {59, 0}, {0, 59}, {65535, 65535}, {30, 29}}) {
        OffloadHeader header;
        header.flags = kNeedsChecksum;
        header.checksum_start = static_cast<std::uint16_t>(start);
        header.checksum_offset = static_cast<std::uint16_t>(offset);
        EXPECT_FALSE(check_offload(testing::under(header, wire))) << start << ' ' << offset;
    }
    OffloadHeader last;
    last.flags = kNeedsChecksum;
    last.checksum_start = 58;
    EXPECT_EQ(completed(testing::under(last, wire)).size(), 1U);
}

TEST(Offload, HeadersThatLeaveNoRoomOnTheWireAreRefused) {
    const PacketShape shape{.tcp_options = 40};
    EXPECT_TRUE(completed(to_be_cut(shape, 3000, 1000), shape.payload() + kMinSegmentBytes - 1).empty());
    EXPECT_EQ(completed(to_be_cut(shape, 3000, 1000), shape.payload() + 100).size(), 30U);
}

}  // namespace
}  // namespace understudy::network
