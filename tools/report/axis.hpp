// Where values lie along an axis of a plot, and which of them are written beside it.
#pragma once

#include <string>
#include <vector>

#include "tools/report/plot.hpp"

namespace understudy::report {

class Axis {
  public:
    struct Tick {
        double at = 0;  // in the plot's units
        std::string label;
    };

    // Covers `low` to `high` and maps them to `from` and `to`, in the plot's units. An axis of no extent is given one.
    Axis(Scale scale, double low, double high, double from, double to);

    [[nodiscard]] bool has(double value) const;
    [[nodiscard]] double at(double value) const;  // clamped to the axis
    [[nodiscard]] const std::vector<Tick>& ticks() const { return ticks_; }

  private:
    [[nodiscard]] double position(double value) const;  // on a linear axis of its own
    void add_tick(double value, std::string label);
    void add_log_ticks();
    void add_quantile_ticks();

    Scale scale_;
    double from_;
    double to_;
    double low_ = 0;  // positions
    double high_ = 1;
    std::vector<Tick> ticks_;
};

}  // namespace understudy::report
