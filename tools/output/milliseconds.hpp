// Durations as people and events read them.
#pragma once

#include <chrono>

namespace understudy::tools {

[[nodiscard]] inline double in_milliseconds(std::chrono::nanoseconds duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace understudy::tools
