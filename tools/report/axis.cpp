#include "tools/report/axis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "tools/report/report.hpp"

namespace understudy::report {
namespace {

constexpr double kLastQuantile = 0.9999;

// 1, 2 or 5 times a power of ten, so that about `count` steps make `extent`.
double nice_step(double extent, double count) {
    const double raw = extent / count;
    const double power = std::pow(10, std::floor(std::log10(raw)));
    for (const double factor : {1.0, 2.0, 5.0}) {
        if (raw <= factor * power) {
            return factor * power;
        }
    }
    return 10 * power;
}

std::string short_value(double value) {
    if (std::abs(value) >= 1e6) {
        return fmt::format("{:g}M", value / 1e6);
    }
    return std::abs(value) >= 1e4 ? fmt::format("{:g}k", value / 1e3) : fmt::format("{:g}", value);
}

}  // namespace

Axis::Axis(Scale scale, double low, double high, double from, double to) : scale_(scale), from_(from), to_(to) {
    if (scale == Scale::quantile) {
        low_ = position(low);
        high_ = std::max(position(high), low_ + 1);
        add_quantile_ticks();
        return;
    }
    if (scale == Scale::log) {
        low_ = std::floor(position(low) + 1e-9);
        high_ = std::max(std::ceil(position(high) - 1e-9), low_ + 1);
        add_log_ticks();
        return;
    }
    high = high > low ? high : low + 1;
    const double step = nice_step(high - low, 5);
    low_ = step * std::floor(low / step + 1e-9);
    high_ = step * std::ceil(high / step - 1e-9);
    for (int i = 0; low_ + i * step <= high_ + step / 2; ++i) {
        add_tick(low_ + i * step, short_value(low_ + i * step));
    }
}

double Axis::position(double value) const {
    switch (scale_) {
        case Scale::log:
            return std::log10(value);
        case Scale::quantile:
            return -std::log10(1 - std::min(value, kLastQuantile));
        case Scale::linear:
            break;
    }
    return value;
}

bool Axis::has(double value) const {
    return std::isfinite(value) && (scale_ != Scale::log || value > 0);
}

double Axis::at(double value) const {
    const double part = std::clamp((position(value) - low_) / (high_ - low_), 0.0, 1.0);
    return from_ + part * (to_ - from_);
}

void Axis::add_tick(double value, std::string label) {
    ticks_.push_back({at(value), std::move(label)});
}

void Axis::add_log_ticks() {
    const bool is_short = high_ - low_ <= 2;
    for (int power = static_cast<int>(low_); power <= static_cast<int>(high_); ++power) {
        for (const double factor : {1.0, 2.0, 5.0}) {
            const double value = factor * std::pow(10, power);
            if ((factor == 1 || is_short) && std::log10(value) <= high_ + 1e-9) {
                add_tick(value, short_value(value));
            }
        }
    }
}

void Axis::add_quantile_ticks() {
    constexpr std::array<std::pair<double, const char*>, 6> kMarks = {
        {{0, "0"}, {0.5, "50 %"}, {0.9, "90 %"}, {0.99, "99 %"}, {0.999, "99.9 %"}, {kLastQuantile, "99.99 %"}}};
    for (const auto& [value, label] : kMarks) {
        if (position(value) >= low_ - 1e-9 && position(value) <= high_ + 1e-9) {
            add_tick(value, label);
        }
    }
}

}  // namespace understudy::report
