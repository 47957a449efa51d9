// Waiting for a socket, for who has a thread to do it.
#pragma once

#include <atomic>
#include <chrono>

namespace understudy::tools {

// Until the socket is ready for `events` (poll's); false: that was not before the deadline. `stopped`, if there is one:
// throws understudy::Error once it is true.
[[nodiscard]] bool await_socket(int socket, short events, std::chrono::steady_clock::time_point deadline,
                                const std::atomic<bool>* stopped);

}  // namespace understudy::tools
