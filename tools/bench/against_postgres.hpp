// The part of `understudy bench against` that is about PostgreSQL: what synchronous streaming replication costs, and
// what it is worth when the primary dies.
#pragma once

#include <vector>

#include "tools/bench/against.hpp"
#include "tools/bench/against_rows.hpp"
#include "tools/report/report.hpp"

namespace understudy::tools {

// Both: there is a Lan; what cannot be measured here is said in what they return. Throw understudy::Error.
[[nodiscard]] std::vector<report::Row> measure_postgres_replication(const AgainstBenchOptions& options);
[[nodiscard]] Contender measure_postgres_failover(const AgainstBenchOptions& options);

}  // namespace understudy::tools
