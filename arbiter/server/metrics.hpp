// A server's figures in the Prometheus text exposition format (version 0.0.4).
#pragma once

#include <string>

#include "arbiter/server/server_core.hpp"

namespace understudy::arbiter {

struct ConnectionCounts {
    std::size_t clients = 0;
    std::size_t peers = 0;
    std::uint64_t refused = 0;            // since the start
    std::uint64_t sync_microseconds = 0;  // spent in group commits, in all
};

[[nodiscard]] std::string prometheus_text(const ServerCore& core, const ConnectionCounts& connections);

}  // namespace understudy::arbiter
