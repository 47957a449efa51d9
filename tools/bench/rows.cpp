#include "tools/bench/rows.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

namespace understudy::tools {

void Rows::add(report::Row row) {
    std::string words = row.is_measured()
                            ? fmt::format("{}: {} {}", row.what, report::format_value(row.value()), row.unit)
                            : fmt::format("{}: not measured: {}", row.what, row.missing);
    if (const auto ratio = row.ratio()) {
        words += fmt::format(", {} of {}", report::format_value(*ratio), row.baseline->variant);
    }
    timeline_.say("bench", words);
    rows_.push_back(std::move(row));
}

std::string only_words(const std::vector<std::string>& only) {
    return only.empty() ? "" : fmt::format(" --only {}", fmt::join(only, ","));
}

report::BarPlot bars_of(const std::vector<report::Row>& rows, const std::string& title, const std::string& unit,
                        const std::string& variant) {
    report::BarPlot plot{.title = title, .unit = unit, .series = {}, .groups = {}};
    for (const report::Row& row : rows) {
        if (row.unit != unit || row.measured.variant != variant || !row.is_measured() || !row.baseline) {
            continue;
        }
        plot.series = {row.baseline->variant, row.measured.variant};
        plot.groups.push_back({row.what, {row.baseline->values, row.measured.values}});
    }
    return plot;
}

}  // namespace understudy::tools
