// The part of `understudy bench against` that is about PostgreSQL: what synchronous streaming replication costs.
#pragma once

#include <vector>

#include "tools/bench/against.hpp"
#include "tools/report/report.hpp"

namespace understudy::tools {

// There is a Lan. What cannot be measured here is said. Throws understudy::Error.
[[nodiscard]] std::vector<report::Row> measure_postgres_replication(const AgainstBenchOptions& options);

}  // namespace understudy::tools
