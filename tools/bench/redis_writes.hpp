// Writes to a server of the Redis protocol. Who writes finds the server as client libraries do: asks the Sentinels for
// the master, connects there, and looks by ROLE whether it is one.
#pragma once

#include <chrono>
#include <vector>

#include "common/address.hpp"
#include "tools/bench/write_link.hpp"

namespace understudy::tools {

struct RedisTarget {
    std::vector<Address> sentinels{};  // that know where the server is; none: it is always at `server`
    Address server{};
    unsigned replicas = 0;                      // that must have a write (WAIT) for it to be acknowledged
    std::chrono::milliseconds wait_time{1000};  // of WAIT
    // For a connection, or an answer, before the server is taken for gone.
    std::chrono::milliseconds patience{3000};
};

[[nodiscard]] WriteTarget redis_writes(RedisTarget target);

}  // namespace understudy::tools
