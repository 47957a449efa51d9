// What processes use of this host.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace understudy::tools {

// Seconds of its processors, of one process; 0 where there is none any more.
[[nodiscard]] double processor_seconds(pid_t process);
// Of it and all that it started, directly or not; of those that ended, what was waited for.
[[nodiscard]] double processor_seconds_below(pid_t process);
// Of its memory; 0 where there is no such process.
[[nodiscard]] std::uint64_t resident_kib(pid_t process);

}  // namespace understudy::tools
