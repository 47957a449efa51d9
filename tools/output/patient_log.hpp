// What components say of trouble (spdlog), for processes that others wait for.
#pragma once

#include <string>

namespace understudy::tools {

// From now on spdlog writes to `fd`, which is not owned, and never waits for its reader (PatientOutput). Behind the
// sandbox's walls: it makes a thread.
void log_patiently(const std::string& name, int fd);

}  // namespace understudy::tools
