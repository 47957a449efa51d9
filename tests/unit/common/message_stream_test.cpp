#include "common/message_stream.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "common/bytes.hpp"

namespace understudy {
namespace {

constexpr std::size_t kMaxMessage = 1U << 20;

std::vector<std::byte> noise(std::mt19937_64& random, std::size_t size) {
    std::vector<std::byte> bytes(size);
    std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
    return bytes;
}

void feed(MessageReader& decoder, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto space = decoder.space();
        const auto part = bytes.first(std::min(space.size(), bytes.size()));
        std::ranges::copy(part, space.begin());
        decoder.received(part.size());
        bytes = bytes.subspan(part.size());
    }
}

TEST(MessageStream, GoldenBytes) {
    std::vector<std::byte> bytes;
    append_message(bytes, as_bytes("abc"));
    EXPECT_EQ(as_text(bytes), std::string_view("\x03\0\0\0\x50\x39\x2f\x89"
                                               "abc",
                                               11));
}

TEST(MessageStream, AStreamInPiecesOfAnySizeGivesTheSameMessages) {
    std::mt19937_64 random(1);
    std::vector<std::vector<std::byte>> messages;
    std::vector<std::byte> stream;
    for (int i = 0; i < 50; ++i) {
        messages.push_back(noise(random, 1 + random() % (i % 10 == 0 ? 300'000 : 2000)));
        append_message(stream, messages.back());
    }
    for (const std::size_t most : {1ULL, 7ULL, 4096ULL, 1'000'000ULL}) {
        MessageReader decoder(kMaxMessage);
        std::span<const std::byte> rest(stream);
        std::size_t index = 0;
        while (!rest.empty()) {
            const auto part = rest.first(std::min<std::size_t>(rest.size(), 1 + random() % most));
            rest = rest.subspan(part.size());
            feed(decoder, part);
            for (auto next = decoder.next(); !std::holds_alternative<MessageReader::NeedMore>(next);
                 next = decoder.next()) {
                ASSERT_TRUE((std::holds_alternative<std::span<const std::byte>>(next)));
                ASSERT_TRUE(std::ranges::equal(std::get<std::span<const std::byte>>(next), messages[index++]));
            }
        }
        EXPECT_EQ(index, messages.size());
    }
}

TEST(MessageStream, AnImpossibleLengthIsRefusedBeforeMemoryIsTaken) {
    for (const char* header : {"\0\0\0\0\0\0\0\0", "\x11\0\0\0\0\0\0\0", "\xff\xff\xff\xff\0\0\0\0"}) {
        MessageReader decoder(16);
        feed(decoder, as_bytes({header, 8}));
        EXPECT_EQ(std::get<MessageReader::Fault>(decoder.next()), MessageReader::Fault::bad_length);
        EXPECT_LE(decoder.space().size(), 2 * MessageReader::kMinSpace);
    }
}

TEST(MessageStream, EveryFlippedBitOfAMessageShows) {
    std::vector<std::byte> good;
    append_message(good, as_bytes("acknowledge stop 4711"));
    for (std::size_t bit = 32; bit < 8 * good.size(); ++bit) {
        auto bad = good;
        bad[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        MessageReader decoder(kMaxMessage);
        feed(decoder, bad);
        EXPECT_EQ(std::get<MessageReader::Fault>(decoder.next()), MessageReader::Fault::bad_checksum);
    }
}

TEST(MessageStream, WhatComesBeforeTheFirstMessageIsTakenAsItIs) {
    MessageReader reader(kMaxMessage);
    feed(reader, as_bytes("GREET"));
    EXPECT_EQ(reader.take(8), std::nullopt);
    feed(reader, as_bytes("ING"));
    std::vector<std::byte> rest;
    append_message(rest, as_bytes("first"));
    feed(reader, rest);
    const auto greeting = reader.take(8);
    ASSERT_TRUE(greeting);
    EXPECT_EQ(as_text(*greeting), "GREETING");
    EXPECT_EQ(as_text(std::get<std::span<const std::byte>>(reader.next())), "first");
}

TEST(MessageStreamDeathTest, AnEmptyMessageIsAProgrammersError) {
    std::vector<std::byte> bytes;
    EXPECT_DEATH(append_message(bytes, {}), "broken invariant");
}

}  // namespace
}  // namespace understudy
