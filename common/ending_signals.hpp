// The signals by which a process is asked to end.
#pragma once

#include <vector>

namespace understudy {

// SIGINT, SIGTERM, and SIGHUP (its terminal is gone, or its ssh session) unless whoever started the process had that
// ignored, as nohup does: who waits for a signal otherwise than by its default gets it also where it is ignored.
[[nodiscard]] std::vector<int> ending_signals();

}  // namespace understudy
