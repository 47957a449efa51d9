#include "hypervisor/gateway/protocol.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace understudy::network {
namespace {

using Status = MessageDecoder::Status;

std::vector<std::byte> bytes_of(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

void feed(MessageDecoder& decoder, std::span<const std::byte> bytes) {
    const auto space = decoder.space();
    ASSERT_LE(bytes.size(), space.size());
    std::ranges::copy(bytes, space.begin());
    decoder.committed(bytes.size());
}

const Hello kHello{.vm = "kv", .rank = {.generation = {0x0102}, .won = true}, .mac = {0x52, 0x54, 0, 0, 0, 1}};

TEST(GatewayProtocol, TheHelloByteByByte) {
    std::vector<std::byte> encoded;
    append_hello(encoded, kHello);
    using namespace std::string_view_literals;
    EXPECT_EQ(encoded, bytes_of("\x1c\x00\x01\x00"
                                "UNDRSTNW"
                                "\x02\x00\x01\x02"
                                "\x02\x01\x00\x00\x00\x00\x00\x00"
                                "\x52\x54\x00\x00\x00\x01"
                                "kv"sv));
    std::string reason;
    EXPECT_EQ(decode_hello(std::span(encoded).subspan(kMessageHeaderSize), reason), kHello);
    std::vector<std::byte> standby;
    append_hello(standby, kHello, MessageKind::standby);
    encoded[2] = std::byte{6};
    EXPECT_EQ(standby, encoded);
}

TEST(GatewayProtocol, AHelloThatIsNoneSaysWhy) {
    std::vector<std::byte> encoded;
    append_hello(encoded, kHello);
    const std::vector<std::byte> body(encoded.begin() + kMessageHeaderSize, encoded.end());
    const auto reason_of = [](std::vector<std::byte> changed) {
        std::string reason;
        EXPECT_FALSE(decode_hello(changed, reason));
        return reason;
    };
    auto magic = body;
    magic[0] = std::byte{'X'};
    EXPECT_THAT(reason_of(magic), ::testing::HasSubstr("no Understudy replica"));
    auto version = body;
    version[8] = std::byte{9};
    EXPECT_THAT(reason_of(version), ::testing::HasSubstr("speaks version 9"));
    auto won = body;
    won[10] = std::byte{2};
    EXPECT_THAT(reason_of(won), ::testing::HasSubstr("malformed"));
    auto name_size = body;
    name_size[11] = std::byte{200};
    EXPECT_THAT(reason_of(name_size), ::testing::HasSubstr("malformed"));
    auto name = body;
    name.back() = std::byte{'\n'};
    EXPECT_THAT(reason_of(name), ::testing::HasSubstr("not printable"));
    for (std::size_t size = 0; size < body.size(); ++size) {
        reason_of({body.begin(), body.begin() + static_cast<std::ptrdiff_t>(size)});
    }
}

TEST(MessageDecoder, FindsTheSameMessagesHoweverTheStreamIsCut) {
    std::vector<std::byte> stream;
    append_hello(stream, kHello);
    append_frame(stream, std::vector<std::byte>(kMinFrameBytes, std::byte{1}));
    append_frame(stream, std::vector<std::byte>(kMaxWireFrameBytes, std::byte{2}));
    append_notice(stream, MessageKind::deposed, "generation 3 speaks");
    for (std::size_t cut = 1; cut < stream.size(); cut += 7) {
        MessageDecoder decoder(1);
        std::vector<MessageKind> kinds;
        std::size_t frame_bytes = 0;
        for (std::size_t offset = 0; offset < stream.size(); offset += cut) {
            const auto part = std::span(stream).subspan(offset, std::min(cut, stream.size() - offset));
            for (std::size_t taken = 0; taken < part.size();) {
                const auto space = decoder.space();
                const auto size = std::min(space.size(), part.size() - taken);
                std::ranges::copy(part.subspan(taken, size), space.begin());
                decoder.committed(size);
                taken += size;
                while (true) {
                    const auto next = decoder.next();
                    ASSERT_NE(next.status, Status::malformed);
                    if (next.status == Status::need_more) {
                        break;
                    }
                    kinds.push_back(next.kind);
                    frame_bytes += next.kind == MessageKind::frame ? next.body.size() : 0;
                }
            }
        }
        EXPECT_THAT(kinds, ::testing::ElementsAre(MessageKind::hello, MessageKind::frame, MessageKind::frame,
                                                  MessageKind::deposed));
        EXPECT_EQ(frame_bytes, kMinFrameBytes + kMaxWireFrameBytes);
    }
}

TEST(MessageDecoder, RefusesWhatIsNoMessageAndStaysRefusing) {
    for (const std::string_view garbage :
         {std::string_view("GET / HTTP/1.1\r\n"), std::string_view("\x00\x00\x00\x00", 4),
          std::string_view("\x0d\x00\x05\x00", 4), std::string_view("\xeb\x05\x05\x00", 4),
          std::string_view("\x00\x00\x02\x01", 4), std::string_view("\x00\x00\x06\x00", 4)}) {
        MessageDecoder decoder(1);
        feed(decoder, bytes_of(garbage));
        EXPECT_EQ(decoder.next().status, Status::malformed);
        std::vector<std::byte> good;
        append_notice(good, MessageKind::welcome, {});
        feed(decoder, good);
        EXPECT_EQ(decoder.next().status, Status::malformed);
    }
}

TEST(GatewayProtocol, ANoticeIsCutToWhatTheProtocolCarries) {
    std::vector<std::byte> encoded;
    append_notice(encoded, MessageKind::refused, std::string(5000, 'x'));
    MessageDecoder decoder(1);
    feed(decoder, encoded);
    const auto next = decoder.next();
    ASSERT_EQ(next.status, Status::message);
    EXPECT_EQ(next.body.size(), kMaxTextSize);
}

}  // namespace
}  // namespace understudy::network
