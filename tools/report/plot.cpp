#include "tools/report/plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tools/report/axis.hpp"
#include "tools/report/report.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::report {
namespace {

constexpr double kWidth = 560;
constexpr double kRight = 70;  // for a value behind a bar
constexpr std::size_t kColours = 8;

// As wide as the longest of them, more or less.
double label_width(std::size_t characters) {
    return std::clamp(7.0 * static_cast<double>(characters) + 16, 60.0, 220.0);
}

std::string text_at(double x, double y, const char* classes, std::string_view text) {
    return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" class="{}">{}</text>)", x, y, classes, escape_html(text));
}

std::string line(double x1, double y1, double x2, double y2, const char* classes) {
    return fmt::format(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>)", x1, y1, x2, y2,
                       classes);
}

std::string box(double x, double y, double width, double height, std::size_t colour, std::string_view tip) {
    return fmt::format(
        R"(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="s{}"><title>{}</title></rect>)", x, y,
        std::max(width, 0.5), std::max(height, 0.0), colour % kColours, escape_html(tip));
}

std::string legend(const std::vector<std::string>& names) {
    if (names.size() < 2 && (names.empty() || names.front().empty())) {
        return {};
    }
    std::string text = "<div class=\"legend\">";
    for (std::size_t i = 0; i < names.size(); ++i) {
        text += fmt::format("<span><i class=\"b{}\"></i>{}</span>", i % kColours, escape_html(names[i]));
    }
    return text + "</div>";
}

std::string figure(const std::string& title, const std::vector<std::string>& names, double height,
                   const std::string& body) {
    return fmt::format(
        "<figure><figcaption>{}</figcaption>{}<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">"
        "{}</svg></figure>\n",
        escape_html(title), legend(names), kWidth, height, escape_html(title), body);
}

// Lines across the plot at the axis's ticks, and what they say below.
std::string vertical_grid(const Axis& x, double top, double bottom, const std::string& label) {
    std::string text;
    for (const Axis::Tick& tick : x.ticks()) {
        text += line(tick.at, top, tick.at, bottom, "grid") + text_at(tick.at, bottom + 16, "tick middle", tick.label);
    }
    return text + text_at((x.ticks().front().at + x.ticks().back().at) / 2, bottom + 34, "axis middle", label);
}

std::string horizontal_grid(const Axis& y, double left, double right, const std::string& label) {
    std::string text;
    for (const Axis::Tick& tick : y.ticks()) {
        text += line(left, tick.at, right, tick.at, "grid") + text_at(left - 8, tick.at + 4, "tick end", tick.label);
    }
    return text + text_at(8, 12, "axis", label);
}

// --- Bars

std::string draw_bar(const BarPlot& plot, const Axis& x, double y, std::size_t series, const BarPlot::Group& group) {
    constexpr double kBar = 14;
    const Spread spread = spread_of(group.values[series]);
    if (spread.count == 0 || !x.has(spread.median)) {
        return text_at(x.ticks().front().at + 4, y + kBar - 3, "tick", "not measured");
    }
    const double begin = x.ticks().front().at;
    const double end = x.at(spread.median);
    const double middle = y + kBar / 2;
    const std::string name = plot.series.at(series);
    std::string text = box(begin, y, end - begin, kBar, series,
                           fmt::format("{}{}{}: {} {}, {} to {}, {} values", group.label, name.empty() ? "" : ", ",
                                       name, format_value(spread.median), plot.unit, format_value(spread.min),
                                       format_value(spread.max), spread.count));
    const double low = x.has(spread.min) ? x.at(spread.min) : begin;
    const double high = x.at(spread.max);
    if (high - low >= 1) {
        text += line(low, middle, high, middle, "whisker") + line(low, middle - 4, low, middle + 4, "whisker") +
                line(high, middle - 4, high, middle + 4, "whisker");
    }
    return text + text_at(std::max(end, high) + 6, y + kBar - 3, "value", format_value(spread.median));
}

// Those that the group has values of; where it has none at all, the first, which says so.
std::vector<std::size_t> drawn_series(const BarPlot& plot, const BarPlot::Group& group) {
    std::vector<std::size_t> drawn;
    const std::size_t count = std::min(plot.series.size(), group.values.size());
    for (std::size_t i = 0; i < count; ++i) {
        if (!group.values[i].empty()) {
            drawn.push_back(i);
        }
    }
    if (drawn.empty() && count > 0) {
        drawn.push_back(0);
    }
    return drawn;
}

std::string draw(const BarPlot& plot) {
    constexpr double kStep = 17;
    constexpr double kGap = 12;
    constexpr double kTop = 8;
    std::size_t longest = 0;
    std::vector<double> all;
    for (const auto& group : plot.groups) {
        longest = std::max(longest, group.label.size());
        for (const auto& values : group.values) {
            std::ranges::copy_if(values, std::back_inserter(all),
                                 [&](double value) { return std::isfinite(value) && (!plot.is_log || value > 0); });
        }
    }
    const double left = label_width(longest);
    const double low = plot.is_log && !all.empty() ? lowest(all) / 2 : 0;
    const Axis x(plot.is_log ? Scale::log : Scale::linear, plot.is_log ? std::max(low, 1e-9) : 0,
                 all.empty() ? 1 : highest(all), left, kWidth - kRight);
    double y = kTop;
    std::string bars;
    for (const auto& group : plot.groups) {
        const auto drawn = drawn_series(plot, group);
        const double height = kStep * static_cast<double>(drawn.size());
        bars += text_at(left - 8, y + height / 2 + 3, "label end", group.label);
        for (std::size_t i = 0; i < drawn.size(); ++i) {
            bars += draw_bar(plot, x, y + kStep * static_cast<double>(i), drawn[i], group);
        }
        y += height + kGap;
    }
    return figure(plot.title, plot.series, y + 40, vertical_grid(x, kTop - 4, y, plot.unit) + bars);
}

// --- Curves

std::string draw(const CurvePlot& plot) {
    constexpr double kHeight = 300;
    constexpr double kLeft = 62;
    constexpr double kTop = 22;
    std::vector<double> xs;
    std::vector<double> ys;
    for (const auto& curve : plot.curves) {
        for (const auto& point : curve.points) {
            if (std::isfinite(point.y) && (plot.y_scale != Scale::log || point.y > 0)) {
                xs.push_back(point.x);
                ys.push_back(point.y);
            }
        }
    }
    if (xs.empty()) {
        return figure(plot.title, {}, 40, text_at(kLeft, 24, "tick", "not measured"));
    }
    const Axis x(plot.x_scale, lowest(xs), highest(xs), kLeft, kWidth - 30);
    const Axis y(plot.y_scale, plot.y_scale == Scale::linear ? 0 : lowest(ys), highest(ys), kHeight, kTop);
    std::string body =
        vertical_grid(x, kTop, kHeight, plot.x_label) + horizontal_grid(y, kLeft, kWidth - 30, plot.y_label);
    std::vector<std::string> names;
    for (std::size_t i = 0; i < plot.curves.size(); ++i) {
        const auto& curve = plot.curves[i];
        names.push_back(curve.name);
        std::string path;
        std::string dots;
        const bool sparse = curve.points.size() <= 24;
        for (const auto& point : curve.points) {
            if (!x.has(point.x) || !y.has(point.y)) {
                continue;
            }
            path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x.at(point.x), y.at(point.y));
            if (sparse) {
                dots += fmt::format(
                    R"(<circle cx="{:.1f}" cy="{:.1f}" r="3" class="s{}"><title>{}: {}</title></circle>)",
                    x.at(point.x), y.at(point.y), i % kColours, escape_html(curve.name), format_value(point.y));
            }
        }
        body += fmt::format(R"(<path d="{}" class="l{}"/>)", path, i % kColours) + dots;
    }
    return figure(plot.title, names, kHeight + 42, body);
}

// --- Stacks

double sum_of(const StackPlot::Bar& bar) {
    return std::accumulate(bar.values.begin(), bar.values.end(), 0.0);
}

double highest_of(const StackPlot& plot) {
    double result = 0;
    for (const auto& bar : plot.bars) {
        result = std::max(result, sum_of(bar));
    }
    return result > 0 ? result : 1;
}

std::string tip(const StackPlot& plot, const StackPlot::Bar& bar, std::size_t part) {
    return fmt::format("{}, {}: {} {}", bar.label, plot.parts[part], format_value(bar.values[part]), plot.unit);
}

std::string draw_labelled(const StackPlot& plot) {
    constexpr double kStep = 30;
    constexpr double kBar = 20;
    constexpr double kTop = 8;
    std::size_t longest = 0;
    for (const auto& bar : plot.bars) {
        longest = std::max(longest, bar.label.size());
    }
    const double left = label_width(longest);
    const Axis x(Scale::linear, 0, highest_of(plot), left, kWidth - kRight);
    double y = kTop;
    std::string bars;
    for (const auto& bar : plot.bars) {
        bars += text_at(left - 8, y + kBar - 5, "label end", bar.label);
        double begin = 0;
        for (std::size_t i = 0; i < std::min(plot.parts.size(), bar.values.size()); ++i) {
            const double end = begin + bar.values[i];
            if (bar.values[i] > 0) {
                bars += box(x.at(begin), y, x.at(end) - x.at(begin), kBar, i, tip(plot, bar, i));
            }
            begin = end;
        }
        bars += text_at(x.at(begin) + 6, y + kBar - 5, "value", format_value(begin));
        y += kStep;
    }
    return figure(plot.title, plot.parts, y + 40, vertical_grid(x, kTop - 4, y, plot.unit) + bars);
}

std::string draw_many(const StackPlot& plot) {
    constexpr double kHeight = 220;
    constexpr double kLeft = 62;
    constexpr double kTop = 22;
    constexpr double kEnd = kWidth - 30;
    const Axis y(Scale::linear, 0, highest_of(plot), kHeight, kTop);
    const double step = (kEnd - kLeft) / static_cast<double>(plot.bars.size());
    std::string body = horizontal_grid(y, kLeft, kEnd, plot.unit);
    for (std::size_t at = 0; at < plot.bars.size(); ++at) {
        const auto& bar = plot.bars[at];
        double begin = 0;
        for (std::size_t i = 0; i < std::min(plot.parts.size(), bar.values.size()); ++i) {
            const double end = begin + bar.values[i];
            if (bar.values[i] > 0) {
                body += box(kLeft + step * static_cast<double>(at), y.at(end), step * 0.86, y.at(begin) - y.at(end), i,
                            tip(plot, bar, i));
            }
            begin = end;
        }
    }
    return figure(plot.title, plot.parts, kHeight + 14, body);
}

std::string draw(const StackPlot& plot) {
    constexpr std::size_t kMostLabelled = 12;
    return plot.bars.size() <= kMostLabelled ? draw_labelled(plot) : draw_many(plot);
}

}  // namespace

std::string to_svg(const Plot& plot) {
    return std::visit([](const auto& one) { return draw(one); }, plot);
}

}  // namespace understudy::report
