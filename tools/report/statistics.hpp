// What repeated measurements come to. Pure functions; of no values every one of them is NaN, which a report shows as
// "not there" and JSON as null: a zero would be a figure.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace understudy::report {

// The value below which the part `q` of the values lies, 0 to 1 (beyond: the ends); between two values in proportion.
[[nodiscard]] double quantile(std::span<const double> values, double q);
[[nodiscard]] inline double median(std::span<const double> values) {
    return quantile(values, 0.5);
}
[[nodiscard]] double lowest(std::span<const double> values);
[[nodiscard]] double highest(std::span<const double> values);
[[nodiscard]] double geometric_mean(std::span<const double> values);  // of positive ones

struct Spread {
    std::size_t count = 0;
    double min = 0;
    double p25 = 0;
    double median = 0;
    double p75 = 0;
    double p90 = 0;
    double p99 = 0;
    double max = 0;
};
[[nodiscard]] Spread spread_of(std::span<const double> values);

// Each value divided by the one that was measured next to it: what else the machine did met both alike. Where one
// series is longer than the other, its rest has no partner and is left out; so is a pair with a divisor of zero.
[[nodiscard]] std::vector<double> pair_ratios(std::span<const double> values, std::span<const double> baseline);

}  // namespace understudy::report
