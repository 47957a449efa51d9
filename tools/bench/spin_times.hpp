// What the program spin says of its kernels.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace understudy::tools {

using SpinTimes = std::map<std::string, double>;  // nanoseconds, by kernel

// From the lines that spin prints, from `from` on; of several passes the last.
[[nodiscard]] SpinTimes spin_times(const std::vector<std::string>& lines, std::size_t from = 0);

// How much faster `a` is than `b`: the geometric mean of b/a over the kernels that both have.
[[nodiscard]] double speed_ratio(const SpinTimes& a, const SpinTimes& b);

}  // namespace understudy::tools
