// A replica, or a scan of ports, at the gateway's socket: the test's hand on the protocol.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/file_descriptor.hpp"
#include "hypervisor/gateway/endpoint.hpp"
#include "hypervisor/gateway/protocol.hpp"

namespace understudy::network::testing {

constexpr MacAddress kGuestMac = {0x52, 0x54, 0, 0, 0, 0x0f};

class FakeReplica {
  public:
    struct Message {
        MessageKind kind;
        std::vector<std::byte> body;
        [[nodiscard]] std::string text() const { return {reinterpret_cast<const char*>(body.data()), body.size()}; }
    };

    explicit FakeReplica(const std::string& endpoint) {
        const auto where = parse_endpoint(endpoint);
        fd_.reset(::socket(where.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&where.address), where.length), 0);
    }
    FakeReplica(const std::string& endpoint, SpeakerRank rank, const VmId& vm = "kv") : FakeReplica(endpoint) {
        say(MessageKind::hello, rank, vm);
    }

    // Hello or standby.
    void say(MessageKind kind, SpeakerRank rank = {}, const VmId& vm = "kv") {
        std::vector<std::byte> message;
        append_hello(message, {.vm = vm, .rank = rank, .mac = kGuestMac}, kind);
        write(message);
    }

    void write(std::span<const std::byte> bytes) {
        // The gateway may have hung up already: then the test sees the end of the stream.
        [[maybe_unused]] const auto sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }
    void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
    void send_frame(std::span<const std::byte> frame) {
        std::vector<std::byte> message;
        append_frame(message, frame);
        write(message);
    }

    // The next message; nothing when the gateway has closed.
    std::optional<Message> next() {
        while (true) {
            const auto result = decoder_.next();
            if (result.status == MessageDecoder::Status::message) {
                return Message{.kind = result.kind, .body = {result.body.begin(), result.body.end()}};
            }
            EXPECT_EQ(result.status, MessageDecoder::Status::need_more);
            const auto space = decoder_.space();
            const auto got = ::recv(fd_.get(), space.data(), space.size(), 0);
            if (got <= 0) {
                return std::nullopt;
            }
            decoder_.committed(static_cast<std::size_t>(got));
        }
    }

    // The next frame that `wanted` accepts; others are passed over. Nothing when the gateway has closed.
    std::optional<std::vector<std::byte>> next_frame(const std::function<bool(std::span<const std::byte>)>& wanted) {
        while (auto message = next()) {
            if (message->kind == MessageKind::frame && wanted(message->body)) {
                return std::move(message->body);
            }
        }
        return std::nullopt;
    }

  private:
    FileDescriptor fd_;
    MessageDecoder decoder_{65536};
};

}  // namespace understudy::network::testing
