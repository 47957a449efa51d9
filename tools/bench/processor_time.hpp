// What processes have used of this host's processors.
#pragma once

#include <sys/types.h>

namespace understudy::tools {

// Seconds, of one process; 0 where there is none any more.
[[nodiscard]] double processor_seconds(pid_t process);
// Of it and all that it started, directly or not; of those that ended, what was waited for.
[[nodiscard]] double processor_seconds_below(pid_t process);

}  // namespace understudy::tools
