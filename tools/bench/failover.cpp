#include "tools/bench/failover.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <numeric>
#include <optional>
#include <random>
#include <utility>

#include "common/error.hpp"
#include "tools/bench/rows.hpp"
#include "tools/demo/scenario.hpp"
#include "tools/demo/stage.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::tools {
namespace {

constexpr std::array kFaults = {Fault::kill, Fault::stop,    Fault::cut,    Fault::partition,
                                Fault::host, Fault::arbiter, Fault::gateway};

std::string title_of(Fault fault) {
    switch (fault) {
        case Fault::kill:
            return "SIGKILL";
        case Fault::stop:
            return "SIGSTOP";
        case Fault::partition:
            return "channel silent";
        case Fault::cut:
            return "channel cut";
        case Fault::host:
            return "host gone";
        case Fault::arbiter:
            return "SIGKILL, and the arbiter's leader";
        case Fault::gateway:
            return "SIGKILL, and its gateway link";
        case Fault::flip:
            break;
    }
    return std::string(name_of(fault));
}

// What is wanted of the longest that a client waits: its median and its 99th percentile, in milliseconds. Nothing is
// wanted where something else is lost with the primary.
struct Wanted {
    double median = 0;
    double tail = 0;
};
std::optional<Wanted> wanted_of(Fault fault, unsigned suspicion_ms) {
    constexpr Wanted kKill{5, 20};
    switch (fault) {
        case Fault::kill:
            return kKill;
        case Fault::stop:
        case Fault::partition:
        case Fault::cut:
        case Fault::host:
            return Wanted{suspicion_ms + kKill.median, suspicion_ms + kKill.tail};
        case Fault::arbiter:
        case Fault::gateway:
        case Fault::flip:
            break;
    }
    return std::nullopt;
}

// How long each step of a round took. One that was told a moment too early (going live and the first output are told by
// two threads) took no time.
std::vector<double> steps_of(const Phases& phases) {
    std::vector<double> steps;
    double before = 0;
    for (const auto& time : {phases.detected, phases.decided, phases.live, phases.spoke, phases.answered}) {
        const double now = std::max(before, time.value_or(before));
        steps.push_back(now - before);
        before = now;
    }
    return steps;
}

const std::vector<std::string>& step_names() {
    static const std::vector<std::string> names = {"detection", "decision", "catching up and going live",
                                                   "first output", "first answer"};
    return names;
}

using Pick = std::optional<double> (*)(const Round&);

std::vector<double> values_of(const Report& found, Pick pick) {
    std::vector<double> values;
    for (const Round& round : found.rounds) {
        if (const auto value = pick(round)) {
            values.push_back(*value);
        }
    }
    return values;
}

std::string title_of(const Report& found) {
    return found.rounds.empty() ? "a fault" : title_of(found.rounds.front().fault);
}

std::optional<double> gap_of(const Round& round) {
    return round.gap_ms;
}

std::optional<double> difference(const std::optional<double>& later, const std::optional<double>& earlier) {
    return later && earlier ? std::optional(std::max(0.0, *later - *earlier)) : std::nullopt;
}

struct Measure {
    const char* what;
    Pick pick;
};
constexpr std::array kMeasures = {
    Measure{"detection", [](const Round& r) { return r.phases.detected; }},
    Measure{"decision of the arbiter", [](const Round& r) { return difference(r.phases.decided, r.phases.detected); }},
    Measure{"catching up and going live", [](const Round& r) { return difference(r.phases.live, r.phases.decided); }},
    Measure{"first output left, since the fault", [](const Round& r) { return r.phases.spoke; }},
    Measure{"first answer at a client, since the fault", [](const Round& r) { return r.phases.answered; }},
};

void add_rows(report::Section& section, const Report& found, Fault fault, unsigned suspicion_ms) {
    const std::string title = title_of(fault);
    const auto row = [&](const std::string& what, Pick pick) {
        return report::Row{.what = fmt::format("{}: {}", title, what),
                           .unit = "ms",
                           .measured = {"", values_of(found, pick)},
                           .missing = values_of(found, pick).empty() ? "nobody told" : ""};
    };
    for (const Measure& measure : kMeasures) {
        section.rows.push_back(row(measure.what, measure.pick));
    }
    const auto wanted = wanted_of(fault, suspicion_ms);
    const auto stayed = std::ranges::count_if(found.rounds, [](const Round& r) { return gap_of(r) && !r.takeover_ms; });
    report::Row gap = row("the longest that a client waited", gap_of);
    gap.detail = stayed == 0 ? "" : fmt::format("in {} of them the primary won and went on", stayed);
    report::Row tail = row("the same, 99th percentile", gap_of);
    tail.counts = report::Statistic::p99;
    if (wanted) {
        gap.target = report::at_most(wanted->median);
        tail.target = report::at_most(wanted->tail);
    }
    section.rows.push_back(gap);
    section.rows.push_back(tail);
}

void add_promises(report::Section& section, const std::vector<Report>& found) {
    const auto add = [&](const char* what, auto count, bool is_promise) {
        double sum = 0;
        for (const Report& one : found) {
            sum += static_cast<double>(count(one));
        }
        section.rows.push_back({.what = what, .measured = {"", {sum}}});
        if (is_promise) {
            section.rows.back().target = report::at_most(0);
        }
    };
    const auto of_rounds = [](std::uint64_t Round::*member) {
        return [member](const Report& one) {
            return std::accumulate(one.rounds.begin(), one.rounds.end(), std::uint64_t{0},
                                   [&](std::uint64_t sum, const Round& round) { return sum + round.*member; });
        };
    };
    add("acknowledged writes", of_rounds(&Round::acked_writes), false);
    add("acknowledged writes lost", of_rounds(&Round::lost_acked_writes), true);
    add("answers that contradict earlier ones", of_rounds(&Round::contradictions), true);
    add("connections dropped", of_rounds(&Round::dropped_connections), true);
    add(
        "replayed stops that differed", [](const Report& one) { return one.divergences; }, true);
    add(
        "failovers without a fault", [](const Report& one) { return one.unplanned_failovers; }, false);
    // Also what no round has counted.
    add(
        "kinds of death at which a client found something wrong",
        [](const Report& one) { return one.finding.empty() ? 0 : 1; }, true);
    for (const Report& one : found) {
        if (!one.finding.empty()) {
            std::string& detail = section.rows.back().detail;
            detail += fmt::format("{}{}: {}", detail.empty() ? "" : "; ", title_of(one), one.finding);
        }
    }
}

report::StackPlot medians_plot(const std::vector<Report>& found) {
    report::StackPlot plot{
        .title = "A failover, step by step: medians", .unit = "ms", .parts = step_names(), .bars = {}};
    for (const Report& one : found) {
        std::vector<std::vector<double>> steps(step_names().size());
        for (const Round& round : one.rounds) {
            const auto of_round = steps_of(round.phases);
            for (std::size_t i = 0; i < steps.size() && gap_of(round); ++i) {
                steps[i].push_back(of_round[i]);
            }
        }
        if (!steps.front().empty()) {
            report::StackPlot::Bar bar{title_of(one.rounds.front().fault), {}};
            std::ranges::transform(steps, std::back_inserter(bar.values),
                                   [](const auto& values) { return report::median(values); });
            plot.bars.push_back(std::move(bar));
        }
    }
    return plot;
}

report::CurvePlot gaps_plot(const std::vector<Report>& found) {
    report::CurvePlot plot{.title = "The longest that a client waited, sorted",
                           .x_label = "of the rounds",
                           .y_label = "ms",
                           .y_scale = report::Scale::log,
                           .curves = {}};
    for (const Report& one : found) {
        auto gaps = values_of(one, gap_of);
        std::ranges::sort(gaps);
        report::CurvePlot::Curve curve{gaps.empty() ? "" : title_of(one.rounds.front().fault), {}};
        for (std::size_t i = 0; i < gaps.size(); ++i) {
            curve.points.push_back({(static_cast<double>(i) + 0.5) / static_cast<double>(gaps.size()), gaps[i]});
        }
        if (!gaps.empty()) {
            plot.curves.push_back(std::move(curve));
        }
    }
    return plot;
}

// Every round of one fault, the quickest first.
report::StackPlot rounds_plot(const Report& found, Fault fault) {
    report::StackPlot plot{.title = fmt::format("{}: every round, until a client's first answer", title_of(fault)),
                           .unit = "ms",
                           .parts = step_names(),
                           .bars = {}};
    for (std::size_t i = 0; i < found.rounds.size(); ++i) {
        if (gap_of(found.rounds[i])) {
            plot.bars.push_back({fmt::format("round {}", i + 1), steps_of(found.rounds[i].phases)});
        }
    }
    std::ranges::sort(plot.bars, {}, [](const report::StackPlot::Bar& bar) {
        return std::accumulate(bar.values.begin(), bar.values.end(), 0.0);
    });
    return plot;
}

Report play(const FailoverBenchOptions& options, Fault fault) {
    Report report;
    report.seed = options.seed != 0 ? options.seed : std::random_device{}();
    Stage stage(stderr);
    try {
        Scenario scenario(stage, {.rounds = options.rounds,
                                  .fault = fault,
                                  .seed = report.seed,
                                  .guest = describe(options.guest),
                                  .suspicion_ms = options.suspicion_ms,
                                  .executable = std::filesystem::read_symlink("/proc/self/exe"),
                                  .image = options.image});
        scenario.run(report);
    } catch (const Error& error) {
        report.failure = fmt::format("{} (seed {})", error.what(), report.seed);
        stage.timeline().say("bench", fmt::format("{}: {}", title_of(fault), report.failure));
    }
    return report;
}

}  // namespace

std::vector<std::string> failover_faults() {
    std::vector<std::string> names;
    std::ranges::transform(kFaults, std::back_inserter(names), [](Fault fault) { return std::string(name_of(fault)); });
    return names;
}

report::Section failover_section(const std::vector<Report>& found, unsigned suspicion_ms, GuestKind guest) {
    const GuestDescription description = describe(guest);
    report::Section section;
    section.name = "failover";
    section.title = "Failover";
    section.text = fmt::format(
        "A protected guest with {} loses its primary under load, at a random moment: {} connections write, remember "
        "and verify, {} requests a second{}. Steps are told by the survivor's own events, answers by the clients; "
        "silence is taken for death after {} ms.",
        description.title, description.connections, report::format_value(description.rate),
        description.has_benchmark() ? ", redis-benchmark beside them" : "", suspicion_ms);
    section.distributions = true;
    for (const Report& one : found) {
        if (!one.rounds.empty()) {
            add_rows(section, one, one.rounds.front().fault, suspicion_ms);
        }
        if (!one.failure.empty()) {
            section.rows.push_back(report::missing_row(
                one.rounds.empty() ? title_of(one) : title_of(one) + ": the rounds from here on", one.failure));
        }
    }
    add_promises(section, found);
    section.plots.emplace_back(medians_plot(found));
    section.plots.emplace_back(gaps_plot(found));
    for (const Report& one : found) {
        constexpr std::size_t kWorthAPlot = 5;
        if (one.rounds.size() >= kWorthAPlot) {
            section.plots.emplace_back(rounds_plot(one, one.rounds.front().fault));
        }
    }
    return section;
}

report::Section measure_failover(const FailoverBenchOptions& options) {
    std::vector<Report> found;
    for (const Fault fault : kFaults) {
        const std::string name(name_of(fault));
        if (options.only.empty() || std::ranges::find(options.only, name) != options.only.end()) {
            found.push_back(play(options, fault));
        }
    }
    report::Section section = failover_section(found, options.suspicion_ms, options.guest);
    section.command = failover_command(options);
    return section;
}

std::string failover_command(const FailoverBenchOptions& options) {
    std::string command =
        fmt::format("understudy bench failover --rounds {} --suspicion {}", options.rounds, options.suspicion_ms);
    if (options.guest != FailoverBenchOptions().guest) {
        command += " --guest " + describe(options.guest).name;
    }
    if (!options.image.empty()) {
        command += " --image " + shell_word(options.image.string());
    }
    if (options.seed != 0) {
        command += fmt::format(" --seed {}", options.seed);
    }
    return command + only_words(options.only);
}

}  // namespace understudy::tools
