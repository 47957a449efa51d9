// What a benchmark has to say: sections of rows, each with every value that was measured, what was wanted of it and the
// command that measures it again; plots; the machine. One model, three forms: text, JSON, and one HTML file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tools/report/machine.hpp"
#include "tools/report/plot.hpp"

namespace understudy::report {

// Of one variant, a value for each repetition, in the order in which they were measured.
struct Samples {
    std::string variant;  // "protected"; empty where there is only one
    std::vector<double> values;
};

enum class Statistic : std::uint8_t { median, lowest, highest, p99 };

// What was wanted of a row's figure.
struct Target {
    enum class Of : std::uint8_t { value, ratio };
    enum class Is : std::uint8_t { at_least, at_most };
    Of of = Of::value;
    Is is = Is::at_most;
    double bound = 0;
};
[[nodiscard]] inline Target at_most(double bound) {
    return {Target::Of::value, Target::Is::at_most, bound};
}
[[nodiscard]] inline Target at_least(double bound) {
    return {Target::Of::value, Target::Is::at_least, bound};
}
[[nodiscard]] inline Target ratio_at_most(double bound) {
    return {Target::Of::ratio, Target::Is::at_most, bound};
}
[[nodiscard]] inline Target ratio_at_least(double bound) {
    return {Target::Of::ratio, Target::Is::at_least, bound};
}

struct Row {
    std::string what{};  // "redis SET, 50 clients"
    std::string unit{};  // "requests/s"; empty: a plain number
    Samples measured{};
    std::optional<Samples> baseline{};     // what took turns with it; the ratio is that of their pairs
    Statistic counts = Statistic::median;  // which of the values is the row's figure
    std::optional<Target> target{};
    std::string detail{};
    std::string missing{};  // why it was not measured; empty: it was

    [[nodiscard]] bool is_measured() const { return missing.empty() && !measured.values.empty(); }
    [[nodiscard]] double value() const;                 // its figure
    [[nodiscard]] std::optional<double> ratio() const;  // the median of its pairs', where there is a baseline
    [[nodiscard]] std::vector<double> ratios() const;
    [[nodiscard]] std::optional<bool> met() const;  // nothing: no target, or not measured
};

// A row that could not be measured, and why.
[[nodiscard]] Row missing_row(std::string what, std::string why);

struct Section {
    std::string name{};  // the word of `understudy bench`
    std::string title{};
    std::string text{};          // how it was measured, in a few sentences
    std::string command{};       // that measures it again
    bool distributions = false;  // rows are samples of a distribution: its tail is shown rather than its spread
    std::vector<Row> rows{};
    std::vector<Plot> plots{};
};

struct Report {
    Machine machine;
    std::vector<Section> sections;
};

// "24,700", "3.14", "0.00123": four digits that count; "-" where there is no number.
[[nodiscard]] std::string format_value(double value);
// "median of 5", "<= 150", ...
[[nodiscard]] std::string describe(const Target& target);

[[nodiscard]] std::string to_text(const Report& report);
// One object; numbers that are not there are null. docs/performance.md describes it.
[[nodiscard]] std::string to_json(const Report& report);
// A page that needs no other file and no network, for light and dark displays.
[[nodiscard]] std::string to_html(const Report& report);

}  // namespace understudy::report
