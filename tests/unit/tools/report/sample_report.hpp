// A report with something of everything in it.
#pragma once

#include "tools/report/report.hpp"

namespace understudy::report::testing {

inline Report sample_report() {
    Report report;
    report.machine = {.version = "9.9",
                      .date = "2026-01-31 12:00 UTC",
                      .processor = "Imaginary <CPU> & Co",
                      .cores = 4,
                      .memory_mib = 16384,
                      .kernel = "Linux 6.1.0 x86_64",
                      .kvm = "kvm_intel",
                      .hypervisor = "",
                      .load_at_start = 0.25,
                      .load_at_end = 1.5,
                      .ticks_at_start = {},
                      .stolen_percent = 2.5};
    Section section{.name = "network",
                    .title = "Requests & answers",
                    .text = "Unprotected and protected take turns.",
                    .command = "understudy bench network --repeats 3",
                    .rows = {},
                    .plots = {}};
    section.rows.push_back({.what = "redis SET, 50 clients",
                            .unit = "requests/s",
                            .measured = {"protected", {30000, 33000, 27000}},
                            .baseline = Samples{"unprotected", {40000, 44000, 36000}},
                            .target = ratio_at_least(0.7),
                            .detail = "by redis-benchmark"});
    section.rows.push_back({.what = "p99", .unit = "ms", .measured = {"", {4, 5, 9}}, .target = at_most(2)});
    section.rows.push_back(missing_row("bulk \"data\"", "needs root"));
    section.plots.emplace_back(BarPlot{.title = "Requests a second",
                                       .unit = "requests/s",
                                       .series = {"unprotected", "protected"},
                                       .groups = {{"1 client", {{9000, 9500, 9900}, {7000, 7500, 8100}}},
                                                  {"50 clients", {{40000, 44000, 36000}, {30000, 33000, 27000}}},
                                                  {"nothing", {{}, {}}}}});
    section.plots.emplace_back(CurvePlot{.title = "Latency",
                                         .x_label = "of the requests",
                                         .y_label = "ms",
                                         .x_scale = Scale::quantile,
                                         .y_scale = Scale::log,
                                         .curves = {{"unprotected", {{0, 0.1}, {0.5, 0.2}, {0.99, 0.9}, {0.9999, 4}}},
                                                    {"protected", {{0, 0.2}, {0.5, 0.3}, {0.99, 1.2}, {0.9999, 9}}}}});
    report.sections.push_back(section);
    Section failover{.name = "failover", .title = "Failover", .distributions = true, .rows = {}, .plots = {}};
    failover.rows.push_back({.what = "gap", .unit = "ms", .measured = {"", {5, 6, 7, 8, 30}}, .target = at_most(10)});
    failover.plots.emplace_back(StackPlot{.title = "Phases",
                                          .unit = "ms",
                                          .parts = {"detection", "decision", "going live", "first answer"},
                                          .bars = {{"kill", {1, 2, 1.5, 2}}, {"stop", {101, 2, 1.5, 2}}}});
    StackPlot rounds{.title = "Rounds", .unit = "ms", .parts = {"detection", "decision"}, .bars = {}};
    for (int i = 0; i < 40; ++i) {
        rounds.bars.push_back({"round", {1.0 + i % 3, 2.0 + 0.1 * i}});
    }
    failover.plots.emplace_back(rounds);
    report.sections.push_back(failover);
    return report;
}

}  // namespace understudy::report::testing
