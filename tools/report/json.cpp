// A report for machines.
#include "tools/output/json.hpp"

#include <fmt/format.h>

#include <cmath>
#include <iterator>
#include <span>

#include "tools/report/report.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::report {
namespace {

using tools::json_string;

std::string number(double value) {
    return std::isfinite(value) ? fmt::format("{}", value) : "null";
}

template <typename Range, typename Write>
std::string list_of(const Range& range, Write write) {
    std::string text = "[";
    for (const auto& one : range) {
        text += (text.size() == 1 ? "" : ",") + write(one);
    }
    return text + "]";
}

std::string spread_json(std::span<const double> values) {
    const Spread s = spread_of(values);
    return fmt::format(R"({{"count":{},"min":{},"p25":{},"median":{},"p75":{},"p90":{},"p99":{},"max":{}}})", s.count,
                       number(s.min), number(s.p25), number(s.median), number(s.p75), number(s.p90), number(s.p99),
                       number(s.max));
}

std::string samples_json(const Samples& samples) {
    return fmt::format(R"({{"variant":{},"values":{},"spread":{}}})", json_string(samples.variant),
                       list_of(samples.values, number), spread_json(samples.values));
}

std::string target_json(const Row& row) {
    if (!row.target) {
        return "null";
    }
    const auto met = row.met();
    return fmt::format(R"({{"of":"{}","is":"{}","bound":{},"met":{}}})",
                       row.target->of == Target::Of::ratio ? "ratio" : "value",
                       row.target->is == Target::Is::at_least ? "at_least" : "at_most", number(row.target->bound),
                       met ? (*met ? "true" : "false") : "null");
}

std::string row_json(const Section& section, const Row& row) {
    const auto ratio = row.ratio();
    return fmt::format(
        R"({{"what":{},"measured":{},"missing":{},"unit":{},"value":{},"samples":{},"baseline":{},"ratio":{},)"
        R"("ratio_spread":{},"target":{},"detail":{},"command":{}}})",
        json_string(row.what), row.is_measured(), json_string(row.missing), json_string(row.unit), number(row.value()),
        samples_json(row.measured), row.baseline ? samples_json(*row.baseline) : "null",
        ratio ? number(*ratio) : "null", row.baseline ? spread_json(row.ratios()) : "null", target_json(row),
        json_string(row.detail), json_string(section.command));
}

std::string machine_json(const Machine& machine) {
    return fmt::format(
        R"({{"version":{},"date":{},"processor":{},"cores":{},"memory_mib":{},"kernel":{},"kvm":{},"hypervisor":{},)"
        R"("load_at_start":{},"load_at_end":{},"stolen_percent":{}}})",
        json_string(machine.version), json_string(machine.date), json_string(machine.processor), machine.cores,
        machine.memory_mib, json_string(machine.kernel), json_string(machine.kvm), json_string(machine.hypervisor),
        number(machine.load_at_start), number(machine.load_at_end), number(machine.stolen_percent));
}

std::string section_json(const Section& section) {
    return fmt::format(R"({{"name":{},"title":{},"rows":{}}})", json_string(section.name), json_string(section.title),
                       list_of(section.rows, [&](const Row& row) { return row_json(section, row); }));
}

}  // namespace

std::string to_json(const Report& report) {
    return fmt::format("{{\"machine\":{},\"sections\":{}}}\n", machine_json(report.machine),
                       list_of(report.sections, section_json));
}

}  // namespace understudy::report
