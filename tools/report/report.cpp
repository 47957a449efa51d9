#include "tools/report/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "tools/report/statistics.hpp"

namespace understudy::report {

double Row::value() const {
    switch (counts) {
        case Statistic::lowest:
            return lowest(measured.values);
        case Statistic::highest:
            return highest(measured.values);
        case Statistic::p99:
            return quantile(measured.values, 0.99);
        case Statistic::median:
            break;
    }
    return median(measured.values);
}

std::vector<double> Row::ratios() const {
    return baseline ? pair_ratios(measured.values, baseline->values) : std::vector<double>{};
}

std::optional<double> Row::ratio() const {
    const auto all = ratios();
    return all.empty() ? std::nullopt : std::optional(median(all));
}

std::optional<bool> Row::met() const {
    if (!target || !is_measured()) {
        return std::nullopt;
    }
    const auto figure = target->of == Target::Of::ratio ? ratio() : std::optional(value());
    if (!figure) {
        return std::nullopt;
    }
    return target->is == Target::Is::at_least ? *figure >= target->bound : *figure <= target->bound;
}

Row missing_row(std::string what, std::string why) {
    Row row;
    row.what = std::move(what);
    row.missing = std::move(why);
    return row;
}

std::string format_value(double value) {
    if (!std::isfinite(value)) {
        return "-";
    }
    const double size = std::abs(value);
    if (size >= 1000) {
        const std::string digits = fmt::format("{:.0f}", size);
        std::string text = value < 0 ? "-" : "";
        for (std::size_t i = 0; i < digits.size(); ++i) {
            text += i > 0 && (digits.size() - i) % 3 == 0 ? "," : "";
            text += digits[i];
        }
        return text;
    }
    if (size >= 100 || size == 0) {
        return fmt::format("{:.0f}", value);
    }
    return size >= 10  ? fmt::format("{:.1f}", value)
           : size >= 1 ? fmt::format("{:.2f}", value)
                       : fmt::format("{:.3g}", value);
}

std::string describe(const Target& target) {
    return fmt::format("{}{} {}", target.of == Target::Of::ratio ? "ratio " : "",
                       target.is == Target::Is::at_least ? ">=" : "<=", format_value(target.bound));
}

}  // namespace understudy::report
