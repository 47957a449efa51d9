// How connections of ours behave: small messages leave at once, and one whose other side is gone does not stay.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <chrono>

namespace understudy {

// For a TCP socket, connected or not yet. It breaks when the other side does not acknowledge what was sent for
// `give_up`. Where nothing is said, Linux sends a probe after five seconds, and looks every five seconds whether it was
// answered and `give_up` has passed.
inline void tune_tcp(int socket, std::chrono::milliseconds give_up) {
    constexpr int kOn = 1;
    constexpr int kProbeSeconds = 5;
    const auto user_timeout = static_cast<unsigned>(give_up.count());
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof kOn);
    ::setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof user_timeout);
    ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &kProbeSeconds, sizeof kProbeSeconds);
    ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &kProbeSeconds, sizeof kProbeSeconds);
    ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &kOn, sizeof kOn);
}

}  // namespace understudy
