// A replica, or a scan of ports, at the gateway's socket: the test's hand on the protocol.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/file_descriptor.hpp"
#include "common/tls/polled_socket.hpp"
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

    // `tls` is null for plain text.
    explicit FakeReplica(const std::string& endpoint, std::shared_ptr<tls::Context> tls = nullptr)
        : socket_(connected_to(endpoint), std::move(tls), tls::Side::dialer) {
        while (socket_.handshake() == tls::PolledSocket::Handshake::under_way) {
            wait(socket_.has_unsent() ? POLLOUT : POLLIN);
        }
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
        while (!bytes.empty() || socket_.has_unsent()) {
            const auto sent = send_some(bytes);
            if (sent < 0 && errno != EAGAIN) {
                return;
            }
            if (sent < 0 || socket_.has_unsent()) {
                wait(POLLOUT);
            }
            bytes = bytes.subspan(static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
        }
    }
    void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
    void send_frame(std::span<const std::byte> frame) {
        std::vector<std::byte> message;
        append_frame(message, frame);
        write(message);
    }
    // The same one again and again, as often as the connection takes it from a gateway that reads nothing. Returns how
    // many of them have left this process as a whole.
    std::size_t fill_with(std::span<const std::byte> frame) {
        std::vector<std::byte> messages;
        append_frame(messages, frame);
        const std::size_t size = messages.size();
        while (messages.size() < (std::size_t{16} << 20)) {
            append_frame(messages, frame);
        }
        std::size_t taken = 0;
        std::size_t last = 0;
        for (ssize_t sent = 0; (sent = send_some(std::span(messages).subspan(taken))) > 0;) {
            last = static_cast<std::size_t>(sent);
            taken += last;
        }
        return (socket_.has_unsent() ? taken - last : taken) / size;
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
            const auto got = socket_.receive(space);
            if (got < 0 && errno == EAGAIN) {
                wait(POLLIN);
            } else if (got <= 0) {
                return std::nullopt;
            } else {
                decoder_.committed(static_cast<std::size_t>(got));
            }
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
    static FileDescriptor connected_to(const std::string& endpoint) {
        const auto where = parse_endpoint(endpoint);
        FileDescriptor fd(::socket(where.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&where.address), where.length), 0);
        EXPECT_EQ(::fcntl(fd.get(), F_SETFL, O_NONBLOCK), 0);
        return fd;
    }
    void wait(short events) {
        pollfd entry{.fd = socket_.fd(), .events = events, .revents = 0};
        ::poll(&entry, 1, -1);
    }
    ssize_t send_some(std::span<const std::byte> bytes) {
        const iovec part{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
        return socket_.send({&part, 1});
    }

    tls::PolledSocket socket_;
    MessageDecoder decoder_{65536};
};

}  // namespace understudy::network::testing
