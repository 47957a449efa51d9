#include "logging_channel/frame_codec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <random>
#include <string>

#include "common/bytes.hpp"
#include "tests/unit/logging_channel/sample.hpp"

namespace understudy::channel {
namespace {

Frame pattern(std::size_t size, unsigned seed) {
    Frame frame(size);
    for (std::size_t i = 0; i < size; ++i) {
        frame[i] = static_cast<std::byte>(i * 7 + seed);
    }
    return frame;
}

void put(Frame& frame, std::size_t at, std::initializer_list<int> bytes) {
    for (const int byte : bytes) {
        frame.at(at++) = static_cast<std::byte>(byte);
    }
}

// A packet of TCP over IPv4 with timestamps, behind a header of virtio, as Linux guests have them.
Frame packet(std::size_t payload) {
    Frame frame = pattern(12 + 14 + 20 + 32 + payload, 1);
    put(frame, 24, {0x08, 0x00, 0x45});
    put(frame, 35, {6});
    put(frame, 58, {0x80});
    return frame;
}

TEST(FrameCodec, GoldenBytes) {
    FrameCodec codec;
    std::string out;
    codec.encode(pattern(16, 1), out);
    EXPECT_EQ(testing::hex(as_bytes(out)), "0001080f161d242b323940474e555c636a");
    codec.encode(pattern(16, 1), out);
    EXPECT_EQ(testing::hex(as_bytes(out)), "100000");
    Frame next = pattern(30, 1);
    put(next, 2, {0xaa});
    put(next, 9, {0xbb});
    put(next, 26, {1, 2, 3, 4});
    codec.encode(next, out);
    EXPECT_EQ(testing::hex(as_bytes(out)), "1a0f0004aa02bbff71787f868d949ba203a9b001020304");
}

TEST(FrameCodec, KnowsWhereHeadersEnd) {
    EXPECT_EQ(headers_end(packet(100)), 78U);
    const Frame whole = packet(100);
    const auto plain = std::span(whole).subspan(12);
    EXPECT_EQ(headers_end(plain), 66U);
    EXPECT_EQ(headers_end(plain.first(60)), 60U);
    EXPECT_EQ(headers_end(plain.first(14)), 14U);
    Frame udp = packet(100);
    put(udp, 35, {17});
    EXPECT_EQ(headers_end(udp), 54U);
    put(udp, 24, {0x86, 0xdd, 0x60});
    put(udp, 32, {17});
    EXPECT_EQ(headers_end(udp), 12U + 14 + 40 + 8);
    put(udp, 32, {58});
    EXPECT_EQ(headers_end(udp), 12U + 14 + 40) << "ICMP";
    put(udp, 24, {0x08, 0x06});
    EXPECT_EQ(headers_end(udp), 26U) << "ARP";
    Frame most = packet(200);
    put(most, 26, {0x4f});
    put(most, 26 + 60 + 12, {0xf0});
    EXPECT_EQ(headers_end(most), FrameCodec::kMaxHeadBytes);
}

TEST(FrameCodec, FramesOfAnyLengthComeBack) {
    FrameCodec encoder;
    FrameCodec decoder;
    std::string out;
    std::mt19937 random(7);
    for (const std::size_t size : {14U, 15U, 60U, 127U, 128U, 129U, 136U, 66U, 1514U, 14U, 128U, 65535U}) {
        for (int i = 0; i < 6; ++i) {
            Frame frame = i < 3 ? pattern(size, static_cast<unsigned>(i)) : packet(std::min(size, kMaxFrameBytes - 78));
            frame[random() % frame.size()] ^= std::byte{0x55};
            encoder.encode(frame, out);
            EXPECT_LE(out.size(), frame.size() + 1);
            ASSERT_EQ(decoder.decode(out), frame) << size;
        }
    }
}

// A short one between two long ones that are alike.
TEST(FrameCodec, RemembersWhatAShortFrameHadNoRoomFor) {
    FrameCodec codec;
    std::string out;
    codec.encode(packet(0), out);
    codec.encode(pattern(14, 1), out);
    codec.encode(packet(0), out);
    EXPECT_LE(out.size(), 3U + 14 + 2);
}

TEST(FrameCodec, MakesHeadersSmall) {
    FrameCodec codec;
    std::string out;
    Frame frame = packet(60);
    codec.encode(frame, out);
    // Another packet of another connection: checksums, ports, numbers, times.
    for (const std::size_t at : {30U, 31U, 36U, 37U, 46U, 47U, 52U, 53U, 56U, 57U, 62U, 63U, 72U, 73U, 76U, 77U}) {
        frame[at] ^= std::byte{0xff};
    }
    codec.encode(frame, out);
    EXPECT_LT(out.size(), 60U + 28);
}

// Who sees how long messages are, and sends packets of its own, could otherwise guess what others send, byte by byte.
TEST(FrameCodec, DoesNotTellByItsLengthWhetherContentsAreAlike) {
    FrameCodec codec;
    std::string again;
    std::string other;
    codec.encode(packet(60), again);
    codec.encode(packet(60), again);
    Frame frame = packet(60);
    std::fill(frame.begin() + 78, frame.end(), std::byte{0});
    codec.encode(frame, other);
    EXPECT_EQ(again.size(), other.size());
}

TEST(FrameCodec, TakesNoBytesThatAreNoFrame) {
    const auto decode = [](std::initializer_list<int> bytes) {
        std::string encoded;
        for (const int byte : bytes) {
            encoded += static_cast<char>(byte);
        }
        return FrameCodec().decode(encoded);
    };
    EXPECT_TRUE(decode({14, 0, 0}));
    EXPECT_TRUE(decode({14, 0, 0, 7}));
    EXPECT_FALSE(decode({}));
    EXPECT_FALSE(decode({14}));
    EXPECT_FALSE(decode({14, 0}));
    EXPECT_FALSE(decode({13, 0, 0})) << "shorter than any frame";
    EXPECT_FALSE(decode({0})) << "none as it is";
    EXPECT_FALSE(decode({0, 1, 2, 3})) << "one as it is, shorter than any";
    EXPECT_FALSE(decode({14, 1, 0})) << "a group without its mask";
    EXPECT_FALSE(decode({14, 1, 0, 3, 7})) << "a byte too few";
    EXPECT_FALSE(decode({14, 2, 0, 0x40, 7})) << "a byte behind the head's end";
    EXPECT_FALSE(decode({129, 0, 0})) << "a head that is too long";
    std::string longest("\x80\0\0", 3);
    longest.append(kMaxFrameBytes - FrameCodec::kMaxHeadBytes, 'x');
    EXPECT_TRUE(FrameCodec().decode(longest));
    longest += 'x';
    EXPECT_FALSE(FrameCodec().decode(longest));
    EXPECT_FALSE(FrameCodec().decode(std::string(kMaxFrameBytes + 2, '\0')));
}

}  // namespace
}  // namespace understudy::channel
