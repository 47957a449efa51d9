#include "tools/bench/await_socket.hpp"

#include <poll.h>

#include <algorithm>

#include "common/error.hpp"

namespace understudy::tools {

bool await_socket(int socket, short events, std::chrono::steady_clock::time_point deadline,
                  const std::atomic<bool>* stopped) {
    using namespace std::chrono_literals;
    constexpr auto kLook = 100ms;  // at whether it is to stop
    pollfd wanted{.fd = socket, .events = events, .revents = 0};
    while (true) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        if (left <= 0ms) {
            return false;
        }
        if (stopped != nullptr && *stopped) {
            throw Error("stopped");
        }
        if (::poll(&wanted, 1, static_cast<int>(std::min<std::chrono::milliseconds>(left, kLook).count())) > 0) {
            return true;
        }
    }
}

}  // namespace understudy::tools
