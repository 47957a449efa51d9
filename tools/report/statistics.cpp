#include "tools/report/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace understudy::report {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double quantile_of_sorted(const std::vector<double>& sorted, double q) {
    if (sorted.empty()) {
        return kNone;
    }
    const double position = std::clamp(q, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

std::vector<double> sorted(std::span<const double> values) {
    std::vector<double> result(values.begin(), values.end());
    std::ranges::sort(result);
    return result;
}

}  // namespace

double quantile(std::span<const double> values, double q) {
    return quantile_of_sorted(sorted(values), q);
}

double lowest(std::span<const double> values) {
    return values.empty() ? kNone : *std::ranges::min_element(values);
}

double highest(std::span<const double> values) {
    return values.empty() ? kNone : *std::ranges::max_element(values);
}

double geometric_mean(std::span<const double> values) {
    double sum = 0;
    for (const double value : values) {
        sum += std::log(value);
    }
    return values.empty() ? kNone : std::exp(sum / static_cast<double>(values.size()));
}

Spread spread_of(std::span<const double> values) {
    const auto ordered = sorted(values);
    const auto at = [&](double q) { return quantile_of_sorted(ordered, q); };
    return {ordered.size(), at(0), at(0.25), at(0.5), at(0.75), at(0.9), at(0.99), at(1)};
}

std::vector<double> pair_ratios(std::span<const double> values, std::span<const double> baseline) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < std::min(values.size(), baseline.size()); ++i) {
        if (baseline[i] != 0) {
            ratios.push_back(values[i] / baseline[i]);
        }
    }
    return ratios;
}

}  // namespace understudy::report
