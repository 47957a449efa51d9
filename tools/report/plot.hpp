// Plots of a report, as data. They are drawn as SVG, whose colours are CSS variables of the page (html.cpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace understudy::report {

// Groups of horizontal bars, each with its spread: a bar ends at the median, its whisker goes from the lowest value to
// the highest.
struct BarPlot {
    std::string title;
    std::string unit;
    std::vector<std::string> series;  // "unprotected", "protected"
    struct Group {
        std::string label;
        std::vector<std::vector<double>> values;  // of each series, as measured; of none: no bar, unless none has any
    };
    std::vector<Group> groups;
    bool is_log = false;
};

enum class Scale : std::uint8_t {
    linear,
    log,
    quantile,  // 0 to 1, each 9 behind the point as wide as the one before
};

struct CurvePlot {
    std::string title;
    std::string x_label;
    std::string y_label;
    Scale x_scale = Scale::linear;
    Scale y_scale = Scale::linear;
    struct Point {
        double x = 0;
        double y = 0;
    };
    struct Curve {
        std::string name;
        std::vector<Point> points;  // in the order of x
    };
    std::vector<Curve> curves;
};

// Bars of parts that follow each other, horizontal and labelled; many of them are drawn as thin vertical ones.
struct StackPlot {
    std::string title;
    std::string unit;
    std::vector<std::string> parts;  // "detection", "decision"
    struct Bar {
        std::string label;
        std::vector<double> values;  // of each part, none negative
    };
    std::vector<Bar> bars;
};

using Plot = std::variant<BarPlot, CurvePlot, StackPlot>;

// A <figure> element. Texts are escaped; values that are not finite, or that a scale has no place for, are left out.
[[nodiscard]] std::string to_svg(const Plot& plot);
// "<b>" as "&lt;b&gt;".
[[nodiscard]] std::string escape_html(std::string_view text);

}  // namespace understudy::report
