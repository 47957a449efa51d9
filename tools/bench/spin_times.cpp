#include "tools/bench/spin_times.hpp"

#include <cmath>
#include <regex>

namespace understudy::tools {

// "sort rounds=20 checksum=... elapsed_ns=97968818": kernel and nanoseconds; of several passes the last.
SpinTimes spin_times(const std::vector<std::string>& lines, std::size_t from) {
    static const std::regex pattern(R"(([a-z-]+) .*elapsed_ns=(\d+))");
    SpinTimes times;
    for (std::size_t i = from; i < lines.size(); ++i) {
        std::smatch match;
        if (std::regex_search(lines[i], match, pattern) && match[1] != "total") {
            times[match[1]] = std::stod(match[2]);
        }
    }
    return times;
}

double speed_ratio(const SpinTimes& a, const SpinTimes& b) {
    double sum = 0;
    std::size_t count = 0;
    for (const auto& [kernel, time] : a) {
        if (const auto other = b.find(kernel); other != b.end() && time > 0 && other->second > 0) {
            sum += std::log(other->second / time);
            ++count;
        }
    }
    return count == 0 ? 0 : std::exp(sum / static_cast<double>(count));
}

}  // namespace understudy::tools
