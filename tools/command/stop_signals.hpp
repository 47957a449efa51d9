// How a command that serves is told to end.
#pragma once

#include "common/file_descriptor.hpp"

namespace understudy::tools {

// SIGINT and SIGTERM as a descriptor that becomes readable; from now on neither ends the process by itself. Call it
// before there is a second thread, which would take them. Throws understudy::Error.
[[nodiscard]] FileDescriptor stop_signals();

}  // namespace understudy::tools
