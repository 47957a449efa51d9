#include "tools/bench/rows.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

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

std::string shell_word(const std::string& word) {
    constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%";
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
        return word;
    }
    std::string quoted = "'";
    for (const char c : word) {
        quoted += c == '\'' ? "'\\''" : std::string(1, c);
    }
    return quoted + "'";
}

report::BarPlot bars_of(const std::vector<report::Row>& rows, const std::string& title, const std::string& unit,
                        const std::string& variant) {
    report::BarPlot plot{.title = title, .unit = unit, .series = {}, .groups = {}};
    std::vector<const report::Row*> shown;
    for (const report::Row& row : rows) {
        if (row.unit == unit && row.measured.variant == variant && row.is_measured() && row.baseline) {
            shown.push_back(&row);
            if (std::ranges::find(plot.series, row.baseline->variant) == plot.series.end()) {
                plot.series.push_back(row.baseline->variant);
            }
        }
    }
    if (!shown.empty()) {
        plot.series.push_back(variant);
    }
    for (const report::Row* row : shown) {
        report::BarPlot::Group group{row->what, {}};
        for (const std::string& name : plot.series) {
            group.values.push_back(name == row->baseline->variant ? row->baseline->values : std::vector<double>{});
        }
        group.values.back() = row->measured.values;
        plot.groups.push_back(std::move(group));
    }
    return plot;
}

}  // namespace understudy::tools
