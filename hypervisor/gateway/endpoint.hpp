// Where a gateway listens and a replica finds it: "unix:PATH" or "HOST:PORT" ("[::1]:PORT" for IPv6).
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "common/file_descriptor.hpp"

namespace understudy::network {

struct Endpoint {
    std::string text;  // as the user wrote it, for messages
    sockaddr_storage address{};
    socklen_t length = 0;

    [[nodiscard]] bool is_unix() const { return address.ss_family == AF_UNIX; }
    // What goes there does not leave this machine: a Unix socket, or an address of the loopback network.
    [[nodiscard]] bool is_local() const;
    [[nodiscard]] std::string unix_path() const;  // empty when it is none
    [[nodiscard]] std::uint16_t port() const;     // 0 of a Unix socket
};

// Throws understudy::Error when the text is malformed or the host name does not resolve.
[[nodiscard]] Endpoint parse_endpoint(std::string_view text);

// A listening, non-blocking socket. The file of a Unix socket is removed with it; a file that a dead process left
// behind is replaced, one that somebody listens on is not. Throws understudy::Error (address in use, no permission).
class ListeningSocket {
  public:
    // `mode`: who may connect to a Unix socket, as of a file; the process's umask is taken off.
    explicit ListeningSocket(Endpoint endpoint, mode_t mode = 0777);
    ListeningSocket(ListeningSocket&& other) noexcept;
    ListeningSocket& operator=(ListeningSocket&&) = delete;
    ListeningSocket(const ListeningSocket&) = delete;
    ListeningSocket& operator=(const ListeningSocket&) = delete;
    ~ListeningSocket();

    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }
    // The endpoint with the port that the kernel chose, where the user asked for port 0.
    [[nodiscard]] std::string text() const;
    // The next connection, non-blocking; an empty FileDescriptor when there is none.
    [[nodiscard]] FileDescriptor accept() const;

  private:
    Endpoint endpoint_;
    FileDescriptor fd_;
};

}  // namespace understudy::network
