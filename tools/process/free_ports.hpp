// Ports for processes that must know each other's before they start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace understudy::tools {

// TCP ports of 127.0.0.1 that were free a moment ago, each another. Throws what Asio does when there are none.
[[nodiscard]] std::vector<std::uint16_t> free_ports(std::size_t count);
[[nodiscard]] inline std::uint16_t free_port() {
    return free_ports(1).front();
}

}  // namespace understudy::tools
