#include "tools/bench/figure.hpp"

#include <fmt/format.h>

#include "tools/output/json.hpp"

namespace understudy::tools {
namespace {

std::string json_of(const Figure& figure) {
    return fmt::format(
        "{{\"name\":{},\"measured\":{},\"value\":{},\"unit\":{},\"target\":{},\"met\":{},\"detail\":{}}}",
        json_string(figure.name), figure.measured, figure.value, json_string(figure.unit), json_string(figure.target),
        figure.met, json_string(figure.detail));
}

std::string row_of(const Figure& figure) {
    if (!figure.measured) {
        return fmt::format("  {:44} {:>9} {:3}        {:9} {:7} {}", figure.name, "-", "", "", "", figure.detail);
    }
    return fmt::format("  {:44} {:9.3f} {:3} {:6} {:9} {:7} {}", figure.name, figure.value, figure.unit,
                       figure.target.empty() ? "" : "target", figure.target,
                       figure.target.empty() ? ""
                       : figure.met          ? "met"
                                             : "MISSED",
                       figure.detail);
}

}  // namespace

void print_figures(const std::vector<Figure>& figures, bool json) {
    if (json) {
        std::string rows;
        for (const Figure& figure : figures) {
            rows += (rows.empty() ? "" : ",") + json_of(figure);
        }
        fmt::print("{{\"figures\":[{}]}}\n", rows);
        return;
    }
    fmt::print("\n");
    for (const Figure& figure : figures) {
        fmt::print("{}\n", row_of(figure));
    }
}

}  // namespace understudy::tools
