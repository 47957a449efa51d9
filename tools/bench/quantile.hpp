// What many measurements come to.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace understudy::tools {

// The value that the part `q` (0 to 1) of the values lies below; 0 where there are none.
[[nodiscard]] inline double quantile(std::vector<double> values, double q) {
    if (values.empty()) {
        return 0;
    }
    std::ranges::sort(values);
    return values[std::min(values.size() - 1, static_cast<std::size_t>(q * static_cast<double>(values.size())))];
}

[[nodiscard]] inline double median(std::vector<double> values) {
    return quantile(std::move(values), 0.5);
}

}  // namespace understudy::tools
