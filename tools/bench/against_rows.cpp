#include "tools/bench/against_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

namespace understudy::tools {
namespace {

double microseconds(std::chrono::nanoseconds duration) {
    return std::chrono::duration<double, std::micro>(duration).count();
}

report::Row plain_row(std::string what, std::uint64_t value, bool is_promised) {
    report::Row row{.what = std::move(what), .measured = {"", {static_cast<double>(value)}}};
    if (is_promised) {
        row.target = report::at_most(0);
    }
    return row;
}

void add_load_rows(std::vector<report::Row>& rows, const Contender& one, const Contender& guarded,
                   std::size_t connections) {
    const auto compare = [&](const std::string& what, const char* unit, const std::vector<double>& measured,
                             const std::vector<double>& baseline) {
        const std::string name = fmt::format("SET, {} connections{}, beside {}", connections, what, one.name);
        const std::string& missing = baseline.empty() ? one.missing : guarded.missing;
        if (measured.empty() || baseline.empty()) {
            rows.push_back(report::missing_row(name, missing));
            return;
        }
        rows.push_back({.what = name,
                        .unit = unit,
                        .measured = {guarded.name, measured},
                        .baseline = report::Samples{one.name, baseline}});
    };
    compare("", "writes/s", guarded.rates, one.rates);
    compare(", p50", "us", guarded.p50_us, one.p50_us);
    compare(", p99", "us", guarded.p99_us, one.p99_us);
}

void add_death_rows(std::vector<report::Row>& rows, const Contender& one) {
    const std::string name = one.name + ", killed";
    if (!one.gaps_ms.empty()) {
        const auto add = [&](const std::string& what, report::Statistic counts, const std::vector<double>& values) {
            rows.push_back(
                {.what = fmt::format("{}: {}", name, what), .unit = "ms", .measured = {"", values}, .counts = counts});
        };
        add("no client had a write acknowledged", report::Statistic::median, one.gaps_ms);
        rows.back().detail = one.detail;
        add("the same, 99th percentile", report::Statistic::p99, one.gaps_ms);
        add("the longest that one client waited", report::Statistic::median, one.waits_ms);
        const WriteFigures& all = one.deaths;
        rows.push_back(plain_row(name + ": acknowledged writes", all.acknowledged, false));
        rows.push_back(plain_row(name + ": acknowledged writes lost", all.lost, one.promises));
        rows.back().detail = all.finding;
        rows.push_back(plain_row(name + ": connections dropped", all.dropped, one.promises));
        rows.push_back(plain_row(name + ": writes refused or unanswered",
                                 all.refused + all.unconfirmed + all.unanswered, one.promises));
        rows.back().detail = fmt::format("{} refused, {} without a replica in time, {} without an answer", all.refused,
                                         all.unconfirmed, all.unanswered);
        rows.push_back(plain_row(name + ": failovers without a fault", one.unplanned, false));
        rows.push_back(plain_row(name + ": keys that hold what was never written", all.contradictions, true));
    }
    if (!one.missing.empty()) {
        rows.push_back(report::missing_row(one.gaps_ms.empty() ? name : name + ": from here on", one.missing));
    }
}

}  // namespace

void Contender::add_load(const WriteFigures& figures) {
    rates.push_back(figures.rate());
    p50_us.push_back(microseconds(figures.latency.quantile(0.5)));
    p99_us.push_back(microseconds(figures.latency.quantile(0.99)));
}

void Contender::add_death(const Outage& outage, const WriteFigures& figures) {
    gaps_ms.push_back(microseconds(outage.gap) / 1e3);
    waits_ms.push_back(microseconds(outage.wait) / 1e3);
    deaths.acknowledged += figures.acknowledged;
    deaths.refused += figures.refused;
    deaths.unconfirmed += figures.unconfirmed;
    deaths.unanswered += figures.unanswered;
    deaths.dropped += figures.dropped;
    deaths.lost += figures.lost;
    deaths.contradictions += figures.contradictions;
    if (deaths.finding.empty()) {
        deaths.finding = figures.finding;
    }
}

std::vector<report::Row> against_rows(const std::vector<Contender>& contenders, std::size_t connections) {
    std::vector<report::Row> rows;
    for (const Contender& one : contenders) {
        if (&one != &contenders.back()) {
            add_load_rows(rows, one, contenders.back(), connections);
        }
    }
    for (const Contender& one : contenders) {
        add_death_rows(rows, one);
    }
    return rows;
}

report::CurvePlot gaps_plot(const std::vector<Contender>& contenders) {
    report::CurvePlot plot{.title = "No client had a write acknowledged, sorted",
                           .x_label = "of the deaths",
                           .y_label = "ms",
                           .y_scale = report::Scale::log,
                           .curves = {}};
    for (const Contender& one : contenders) {
        auto gaps = one.gaps_ms;
        std::ranges::sort(gaps);
        report::CurvePlot::Curve curve{one.name, {}};
        for (std::size_t i = 0; i < gaps.size(); ++i) {
            curve.points.push_back({(static_cast<double>(i) + 0.5) / static_cast<double>(gaps.size()), gaps[i]});
        }
        if (!gaps.empty()) {
            plot.curves.push_back(std::move(curve));
        }
    }
    return plot;
}

}  // namespace understudy::tools
