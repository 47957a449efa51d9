// A report for terminals.
#include <fmt/format.h>

#include <algorithm>

#include "tools/report/report.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::report {
namespace {

std::string machine_text(const Machine& machine) {
    return fmt::format(
        "Understudy {}, {}\n{}, {} cores, {} MiB; {}; KVM: {}{}; load average {:.2f} before, {:.2f} after; {:.1f} % of "
        "its processors' time taken by its host\n",
        machine.version, machine.date, machine.processor, machine.cores, machine.memory_mib, machine.kernel,
        machine.kvm.empty() ? "of an unknown kind" : machine.kvm,
        machine.hypervisor.empty() ? "" : ", itself a guest of " + machine.hypervisor, machine.load_at_start,
        machine.load_at_end, machine.stolen_percent);
}

std::string spread_text(const Section& section, const Spread& spread) {
    if (spread.count < 2) {
        return "";
    }
    if (section.distributions) {
        return fmt::format("p90 {}, p99 {}, max {}", format_value(spread.p90), format_value(spread.p99),
                           format_value(spread.max));
    }
    return fmt::format("{} .. {}", format_value(spread.min), format_value(spread.max));
}

std::string row_text(const Section& section, const Row& row, std::size_t width) {
    if (!row.is_measured()) {
        return fmt::format("  {:{}}  not measured: {}\n", row.what, width,
                           row.missing.empty() ? "no value" : row.missing);
    }
    const Spread spread = spread_of(row.measured.values);
    std::string text = fmt::format("  {:{}} {:>9} {:12} {:26} n={:<4}", row.what, width, format_value(row.value()),
                                   row.unit, spread_text(section, spread), spread.count);
    if (const auto ratio = row.ratio()) {
        text += fmt::format(" {} {} of {}", row.measured.variant, format_value(*ratio), row.baseline->variant);
    } else if (!row.measured.variant.empty()) {
        text += " " + row.measured.variant;
    }
    if (const auto met = row.met()) {
        text += fmt::format("  target {} {}", describe(*row.target), *met ? "met" : "MISSED");
    }
    text += "\n";
    return row.detail.empty() ? text : text + fmt::format("  {:{}}   {}\n", "", width, row.detail);
}

}  // namespace

std::string to_text(const Report& report) {
    std::string text = "\n" + machine_text(report.machine);
    for (const Section& section : report.sections) {
        text += fmt::format("\n{}\n", section.title);
        if (!section.command.empty()) {
            text += fmt::format("  $ {}\n", section.command);
        }
        std::size_t width = 0;
        for (const Row& row : section.rows) {
            width = std::max(width, row.what.size());
        }
        for (const Row& row : section.rows) {
            text += row_text(section, row, width);
        }
    }
    return text;
}

}  // namespace understudy::report
