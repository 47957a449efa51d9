// Writes to PostgreSQL servers of which one takes them: each is a transaction of its own, in a table of keys and
// numbers. Who writes finds the server as libpq does with several hosts and target_session_attrs=read-write: one after
// the other, until one is no standby.
#pragma once

#include <chrono>
#include <vector>

#include "common/address.hpp"
#include "tools/bench/write_link.hpp"

namespace understudy::tools {

struct PostgresTarget {
    std::vector<Address> servers{};
    // For a connection, or an answer, before the server is taken for gone.
    std::chrono::milliseconds patience{3000};
};

// The table that they need. Throws understudy::Error.
void make_table_for_writes(const PostgresTarget& target);

[[nodiscard]] WriteTarget postgres_writes(PostgresTarget target);

}  // namespace understudy::tools
