#include "hypervisor/network/send_queue.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "common/ethernet.hpp"

namespace understudy::network {
namespace {

Hello hello(std::uint64_t generation) {
    return {.vm = "kv", .rank = {.generation = {generation}, .won = false}, .mac = {2, 0, 0, 0, 0, 1}};
}

// What a gateway makes of all that waits, said on one connection: a hello as its generation, a frame as its size.
std::vector<std::uint64_t> said(SendQueue& queue, bool hellos_only = false) {
    MessageDecoder decoder(SendQueue::kMaxQueuedBytes);
    std::array<iovec, 16> parts{};
    while (const std::size_t count = queue.gather(parts, hellos_only)) {
        std::size_t bytes = 0;
        for (const iovec& part : std::span(parts).first(count)) {
            std::memcpy(decoder.space().data(), part.iov_base, part.iov_len);
            decoder.committed(part.iov_len);
            bytes += part.iov_len;
        }
        queue.sent(bytes);
    }
    std::vector<std::uint64_t> messages;
    auto next = decoder.next();
    for (; next.status == MessageDecoder::Status::message; next = decoder.next()) {
        std::string reason;
        messages.push_back(next.kind == MessageKind::frame ? next.body.size()
                                                           : decode_hello(next.body, reason)->rank.generation.value);
    }
    EXPECT_EQ(next.status, MessageDecoder::Status::need_more);
    return messages;
}

// So much of what waits is written.
void write(SendQueue& queue, std::size_t bytes) {
    std::array<iovec, 16> parts{};
    EXPECT_GT(queue.gather(parts, false), 0U);
    queue.sent(bytes);
}

TEST(SendQueue, SaysAHelloBeforeTheFrames) {
    SendQueue queue;
    queue.push_frame(Frame(60));
    queue.push_frame(Frame(61));
    queue.push_hello(hello(5), MessageKind::hello);
    EXPECT_EQ(said(queue, true), (std::vector<std::uint64_t>{5}));
    EXPECT_EQ(said(queue), (std::vector<std::uint64_t>{60, 61}));
}

TEST(SendQueue, EndsAFrameThatIsHalfSaidBeforeItSaysAHello) {
    SendQueue queue;
    queue.push_frame(Frame(60));
    queue.push_frame(Frame(61));
    write(queue, 10);
    queue.push_hello(hello(5), MessageKind::hello);
    std::array<iovec, 16> parts{};
    ASSERT_EQ(queue.gather(parts, false), 3U);
    EXPECT_EQ(parts[0].iov_len, kMessageHeaderSize + 60 - 10);
    queue.sent(parts[0].iov_len);
    EXPECT_EQ(said(queue), (std::vector<std::uint64_t>{5, 61}));
}

TEST(SendQueue, OfAConnectionThatBrokeNoHelloIsLeftAndTheFrameThatItCutIsWhole) {
    SendQueue queue;
    queue.push_frame(Frame(60));
    queue.push_frame(Frame(61));
    write(queue, 10);
    queue.push_hello(hello(5), MessageKind::hello);
    queue.disconnected();
    queue.push_hello(hello(6), MessageKind::hello);
    EXPECT_EQ(said(queue), (std::vector<std::uint64_t>{6, 60, 61}));
}

TEST(SendQueue, OfAConnectionThatBrokeAmidAHelloNothingIsLeftOfIt) {
    SendQueue queue;
    queue.push_hello(hello(5), MessageKind::hello);
    queue.push_frame(Frame(60));
    write(queue, 10);
    queue.push_hello(hello(6), MessageKind::hello);
    queue.disconnected();
    EXPECT_EQ(said(queue), (std::vector<std::uint64_t>{60}));
}

TEST(SendQueue, TellsWhichFramesItHasNoMore) {
    SendQueue queue;
    queue.push_frame(Frame(60));
    queue.push_frame(Frame(61));
    queue.push_hello(hello(5), MessageKind::hello);
    EXPECT_EQ(queue.frames(), (Passage{.given = 2, .gone = 0}));
    write(queue, kMessageHeaderSize + 28 + kMessageHeaderSize + 59);
    EXPECT_EQ(queue.frames(), (Passage{.given = 2, .gone = 0})) << "half of one";
    write(queue, 1);
    EXPECT_EQ(queue.frames(), (Passage{.given = 2, .gone = 1}));
    queue.clear();
    EXPECT_EQ(queue.frames(), (Passage{.given = 2, .gone = 2}));
}

TEST(SendQueue, WhatFindsNoRoomIsGone) {
    SendQueue queue;
    queue.push_frame(Frame(1000));
    write(queue, 10);
    for (int i = 0; i < 10'000; ++i) {
        queue.push_frame(Frame(1000));
    }
    const std::uint64_t held = queue.frames().given - queue.frames().gone;
    EXPECT_EQ(queue.frames().given, 10'001U);
    EXPECT_GT(held, 4'000U);
    EXPECT_LE(held * (1000 + kMessageHeaderSize), SendQueue::kMaxQueuedBytes);
}

// What went with a connection takes no room.
TEST(SendQueue, HoldsAsMuchAfterManyConnectionsAsAtFirst) {
    SendQueue queue;
    for (std::size_t i = 0; i < 200'000; ++i) {
        queue.push_frame(Frame(60));
        write(queue, 10);
        queue.push_hello(hello(5), MessageKind::hello);
        queue.disconnected();
        queue.push_hello(hello(6), MessageKind::hello);
        write(queue, kMessageHeaderSize + 28 + kMessageHeaderSize + 60);
    }
    queue.push_frame(Frame(60));
    queue.push_frame(Frame(61));
    EXPECT_EQ(said(queue), (std::vector<std::uint64_t>{60, 61}));
}

}  // namespace
}  // namespace understudy::network
