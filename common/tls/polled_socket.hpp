// A non-blocking stream socket, plain or under TLS, for loops that poll: what gateway and replica read and write.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/file_descriptor.hpp"
#include "common/tls/context.hpp"

namespace understudy::tls {

class PolledSocket {
  public:
    enum class Handshake : std::uint8_t { done, under_way, failed };

    // `fd` is connected. Without a `context`: plain text.
    PolledSocket(FileDescriptor fd, std::shared_ptr<Context> context, Side side);
    ~PolledSocket();
    PolledSocket(PolledSocket&&) noexcept;
    PolledSocket& operator=(PolledSocket&&) noexcept;

    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] bool encrypted() const { return tls_ != nullptr; }

    // Goes on with it, until it is done, or waits for the socket, or has failed(). Before anything is received or sent.
    [[nodiscard]] Handshake handshake();
    // Why the handshake failed, or what came later: who is turned away by the acceptor learns it behind its own
    // handshake.
    [[nodiscard]] const std::string& failure() const { return failure_; }
    [[nodiscard]] std::optional<Identity> peer() const;

    // As recv(2): EAGAIN where nothing is there. Call it again while has_more(): poll(2) does not know.
    [[nodiscard]] ssize_t receive(std::span<std::byte> space);
    [[nodiscard]] bool has_more() const;
    // As sendmsg(2), of as much as it takes. What was taken may wait here, has_unsent(): poll for POLLOUT, then send
    // more (or nothing).
    [[nodiscard]] ssize_t send(std::span<const iovec> parts);
    [[nodiscard]] bool has_unsent() const;

  private:
    struct Tls;
    FileDescriptor fd_;
    std::unique_ptr<Tls> tls_;
    std::string failure_;
};

}  // namespace understudy::tls
