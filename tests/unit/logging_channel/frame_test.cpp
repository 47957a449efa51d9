#include "logging_channel/frame.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/logging_channel/sample.hpp"

namespace understudy::channel {
namespace {

using testing::bytes_of;
using testing::hex;

void feed(FrameDecoder& decoder, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto space = decoder.space();
        const auto part = bytes.first(std::min(space.size(), bytes.size()));
        std::ranges::copy(part, space.begin());
        decoder.received(part.size());
        bytes = bytes.subspan(part.size());
    }
}

TEST(Frame, GoldenBytes) {
    std::vector<std::byte> bytes;
    append_frame(bytes, bytes_of("abc"));
    EXPECT_EQ(hex(bytes),
              "03000000"
              "50392f89"
              "616263");
    EXPECT_EQ(hex(preamble()),
              "5553544459"
              "43484e"
              "01000000");
    EXPECT_EQ(read_preamble(preamble(77)), 77U);
    EXPECT_EQ(read_preamble(bytes_of("GET / HTTP/1")), std::nullopt);
}

TEST(Frame, AStreamInPiecesOfAnySizeGivesTheSameMessages) {
    testing::Sampler sampler(1);
    std::vector<std::vector<std::byte>> messages;
    std::vector<std::byte> stream;
    for (int i = 0; i < 50; ++i) {
        messages.push_back(sampler.noise(1 + sampler.below(i % 10 == 0 ? 300'000 : 2000)));
        append_frame(stream, messages.back());
    }
    for (const std::size_t most : {1ULL, 7ULL, 4096ULL, 1'000'000ULL}) {
        FrameDecoder decoder(kMaxMessageBytes);
        std::span<const std::byte> rest(stream);
        std::size_t index = 0;
        while (!rest.empty()) {
            const auto part = rest.first(std::min<std::size_t>(rest.size(), 1 + sampler.below(most)));
            rest = rest.subspan(part.size());
            feed(decoder, part);
            for (auto next = decoder.next(); !std::holds_alternative<FrameDecoder::NeedMore>(next);
                 next = decoder.next()) {
                ASSERT_TRUE((std::holds_alternative<std::span<const std::byte>>(next)));
                ASSERT_TRUE(std::ranges::equal(std::get<std::span<const std::byte>>(next), messages[index++]));
            }
        }
        EXPECT_EQ(index, messages.size());
    }
}

TEST(Frame, AnImpossibleLengthIsRefusedBeforeMemoryIsTaken) {
    for (const char* header : {"\0\0\0\0\0\0\0\0", "\x11\0\0\0\0\0\0\0", "\xff\xff\xff\xff\0\0\0\0"}) {
        FrameDecoder decoder(16);
        feed(decoder, bytes_of({header, 8}));
        EXPECT_EQ(std::get<FrameFault>(decoder.next()), FrameFault::bad_length);
        EXPECT_LE(decoder.space().size(), 2 * FrameDecoder::kMinSpace);
    }
}

TEST(Frame, EveryFlippedBitOfAMessageShows) {
    std::vector<std::byte> good;
    append_frame(good, bytes_of("acknowledge stop 4711"));
    for (std::size_t bit = 32; bit < 8 * good.size(); ++bit) {
        auto bad = good;
        bad[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        FrameDecoder decoder(kMaxMessageBytes);
        feed(decoder, bad);
        EXPECT_EQ(std::get<FrameFault>(decoder.next()), FrameFault::bad_checksum);
    }
}

}  // namespace
}  // namespace understudy::channel
