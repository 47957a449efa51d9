// A report as one page: style and plots are inside it, and nothing is loaded.
#include <fmt/format.h>

#include <cmath>
#include <string_view>

#include "tools/output/utf8.hpp"
#include "tools/report/report.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::report {
namespace {

constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b2330;--soft:#5c6675;--line:#dfe3e9;--grid:#e8ebf0;
--good:#117a4b;--good-bg:#e2f5ea;--bad:#a8321c;--bad-bg:#fdeae4;
--c0:#8a97a8;--c1:#1f6feb;--c2:#d9822b;--c3:#0f9d7a;--c4:#8e4ec6;--c5:#c2415d;--c6:#0891b2;--c7:#6b8e23}
@media (prefers-color-scheme:dark){:root{--page:#10141b;--card:#181e27;--ink:#e4e9f0;--soft:#97a3b4;--line:#2b3441;
--grid:#252d38;--good:#5fd39a;--good-bg:#143526;--bad:#ff9a7d;--bad-bg:#42201a;
--c0:#7a8798;--c1:#5b9dff;--c2:#f0a455;--c3:#3ec9a3;--c4:#b98af0;--c5:#f0758f;--c6:#45c4e0;--c7:#a9cc5c}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,"Segoe UI","DejaVu Sans",sans-serif}
main{max-width:1180px;margin:0 auto;padding:36px 24px 60px}
h1{font-size:30px;margin:0 0 4px;letter-spacing:-.02em}h2{font-size:21px;margin:0 0 6px}
p{margin:0 0 14px;max-width:78ch}.soft{color:var(--soft)}
.machine{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px 24px;margin:22px 0}
.machine div{border-top:1px solid var(--line);padding-top:8px}.machine b{display:block;font-weight:600}
.machine span{color:var(--soft);font-size:12.5px;text-transform:uppercase;letter-spacing:.05em}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:24px 26px;margin:24px 0}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,500px),1fr));gap:18px 28px;margin:16px 0}
figure{margin:0}figcaption{font-weight:600;margin-bottom:4px}svg{width:100%;height:auto;display:block;overflow:visible}
svg text{font:12px system-ui,"DejaVu Sans",sans-serif;fill:var(--soft)}svg .value,svg .label{fill:var(--ink)}
.middle{text-anchor:middle}.end{text-anchor:end}.grid{stroke:var(--grid);stroke-width:1}
.whisker{stroke:var(--ink);stroke-width:1.4;opacity:.75}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;font-size:13px;color:var(--soft);margin-bottom:6px}
.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px;vertical-align:-1px}
path{fill:none;stroke-width:2.2;stroke-linejoin:round}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
th{font-weight:600;color:var(--soft);text-align:left;font-size:12.5px;padding:6px 14px 6px 0;white-space:nowrap}
td{border-top:1px solid var(--line);padding:8px 14px 8px 0;vertical-align:top}
th.n,td.n{text-align:right;white-space:nowrap}td small{display:block;color:var(--soft);font-size:12.5px}
.met,.missed{border-radius:99px;padding:1px 9px;font-size:12.5px;font-weight:600;white-space:nowrap}
.met{color:var(--good);background:var(--good-bg)}.missed{color:var(--bad);background:var(--bad-bg)}
code{font:12.5px ui-monospace,"DejaVu Sans Mono",monospace;background:var(--page);border:1px solid var(--line);
border-radius:6px;padding:2px 7px}footer{color:var(--soft);font-size:13px}
@media print{body{background:#fff}section{break-inside:avoid}}
)";

// Of the plots' parts, lines and legends.
std::string colour_rules() {
    constexpr int kColours = 8;
    std::string text;
    for (int i = 0; i < kColours; ++i) {
        // The grey one is for what others are compared with.
        text +=
            fmt::format(".s{0}{{fill:var(--c{1})}}.l{0}{{stroke:var(--c{1})}}.b{0}{{background:var(--c{1})}}\n", i, i);
    }
    return text;
}

std::string fact(std::string_view name, const std::string& value) {
    return fmt::format("<div><span>{}</span><b>{}</b></div>", name, escape_html(value));
}

std::string machine_html(const Machine& machine) {
    return "<div class=\"machine\">" + fact("processor", fmt::format("{} x {}", machine.cores, machine.processor)) +
           fact("memory", fmt::format("{:.1f} GiB", static_cast<double>(machine.memory_mib) / 1024)) +
           fact("kernel", machine.kernel) +
           fact("KVM", (machine.kvm.empty() ? "cannot be told" : machine.kvm) +
                           (machine.hypervisor.empty() ? "" : ", in a guest of " + machine.hypervisor)) +
           fact("load average",
                fmt::format("{:.2f} before, {:.2f} after", machine.load_at_start, machine.load_at_end)) +
           fact("processor time taken by its host", fmt::format("{:.1f} %", machine.stolen_percent)) +
           fact("Understudy", machine.version) + "</div>\n";
}

std::string verdict_html(const Row& row) {
    const auto met = row.met();
    if (!met) {
        return {};
    }
    return fmt::format("{} <span class=\"{}\">{}</span>", escape_html(describe(*row.target)), *met ? "met" : "missed",
                       *met ? "met" : "missed");
}

std::string ratio_html(const Row& row) {
    const auto ratio = row.ratio();
    if (!ratio) {
        return {};
    }
    const Spread spread = spread_of(row.ratios());
    std::string text = format_value(*ratio);
    if (spread.count > 1) {
        text += fmt::format("<small>{} .. {}</small>", format_value(spread.min), format_value(spread.max));
    }
    return text;
}

std::string figures_html(const Section& section, const Row& row) {
    const Spread spread = spread_of(row.measured.values);
    std::string text =
        fmt::format("<td class=\"n\"><b>{}</b> {}</td>", format_value(row.value()), escape_html(row.unit));
    if (section.distributions) {
        for (const double value : {spread.p90, spread.p99, spread.max}) {
            text += fmt::format("<td class=\"n\">{}</td>", spread.count < 2 ? "" : format_value(value));
        }
    } else {
        text += spread.count < 2
                    ? std::string("<td class=\"n\"></td>")
                    : fmt::format("<td class=\"n\">{} .. {}</td>", format_value(spread.min), format_value(spread.max));
    }
    return text + fmt::format("<td class=\"n\">{}</td>", spread.count);
}

// What the others took turns with, in the same form.
std::string baseline_html(const Row& row) {
    if (!row.baseline || row.baseline->values.empty()) {
        return "<td></td>";
    }
    return fmt::format("<td class=\"n\">{}<small>{}</small></td>", format_value(median(row.baseline->values)),
                       escape_html(row.baseline->variant));
}

std::string row_html(const Section& section, const Row& row, bool with_ratios) {
    std::string name = escape_html(row.what);
    if (!row.measured.variant.empty()) {
        name += fmt::format(" <span class=\"soft\">{}</span>", escape_html(row.measured.variant));
    }
    if (!row.is_measured()) {
        return fmt::format("<tr><td>{}</td><td colspan=\"9\" class=\"soft\">not measured: {}</td></tr>\n", name,
                           escape_html(row.missing));
    }
    if (!row.detail.empty()) {
        name += fmt::format("<small>{}</small>", escape_html(row.detail));
    }
    return fmt::format("<tr><td>{}</td>{}{}<td>{}</td></tr>\n", name, figures_html(section, row),
                       with_ratios ? baseline_html(row) + fmt::format("<td class=\"n\">{}</td>", ratio_html(row)) : "",
                       verdict_html(row));
}

std::string table_html(const Section& section) {
    bool with_ratios = false;
    for (const Row& row : section.rows) {
        with_ratios = with_ratios || row.baseline.has_value();
    }
    std::string text = fmt::format(
        "<div class=\"wide\"><table><tr><th>what</th><th class=\"n\">{}</th><th "
        "class=\"n\">n</th>{}<th>target</th></tr>\n",
        section.distributions ? "median</th><th class=\"n\">p90</th><th class=\"n\">p99</th><th class=\"n\">max"
                              : "figure</th><th class=\"n\">lowest .. highest",
        with_ratios ? "<th class=\"n\">beside</th><th class=\"n\">ratio</th>" : "");
    for (const Row& row : section.rows) {
        text += row_html(section, row, with_ratios);
    }
    return text + "</table></div>\n";
}

std::string section_html(const Section& section) {
    std::string text =
        fmt::format("<section id=\"{}\"><h2>{}</h2>\n", escape_html(section.name), escape_html(section.title));
    if (!section.text.empty()) {
        text += fmt::format("<p class=\"soft\">{}</p>\n", escape_html(section.text));
    }
    if (!section.plots.empty()) {
        text += "<div class=\"plots\">\n";
        for (const Plot& plot : section.plots) {
            text += to_svg(plot);
        }
        text += "</div>\n";
    }
    if (!section.rows.empty()) {
        text += table_html(section);
    }
    if (!section.command.empty()) {
        text += fmt::format("<p class=\"soft\" style=\"margin:14px 0 0\">Measured again by <code>{}</code></p>\n",
                            escape_html(section.command));
    }
    return text + "</section>\n";
}

std::string targets_html(const Report& report) {
    int met = 0;
    int missed = 0;
    for (const Section& section : report.sections) {
        for (const Row& row : section.rows) {
            if (const auto is_met = row.met()) {
                ++(*is_met ? met : missed);
            }
        }
    }
    return met + missed == 0 ? ""
                             : fmt::format(
                                   "<p>Targets: <span class=\"met\">{} met</span> <span class=\"missed\">{} "
                                   "missed</span></p>\n",
                                   met, missed);
}

}  // namespace

std::string escape_html(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        const std::size_t length = tools::utf8_length(text);
        const char c = text.front();
        if (length == 0) {
            result += "\uFFFD";
        } else if (c == '<' || c == '>' || c == '&' || c == '"') {
            result += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : "&quot;";
        } else {
            result += text.substr(0, length);
        }
        text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return result;
}

std::string to_html(const Report& report) {
    std::string text = fmt::format(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
        "<title>Understudy: measured {}</title>\n<style>{}{}</style></head>\n<body><main>\n"
        "<h1>Understudy, measured</h1>\n<p class=\"soft\">{}. Fault tolerance for virtual machines by record and "
        "replay: what it "
        "costs and how long a failover takes, on this machine.</p>\n",
        escape_html(report.machine.date), kStyle, colour_rules(), escape_html(report.machine.date));
    text += machine_html(report.machine) + targets_html(report);
    for (const Section& section : report.sections) {
        text += section_html(section);
    }
    return text +
           "<footer><p>Figures are medians of the repetitions unless a row says otherwise; variants took turns, and a "
           "ratio is the median of the ratios of neighbours. A bar ends at the median, its whisker goes from the "
           "lowest "
           "to the highest value.</p></footer>\n</main></body></html>\n";
}

}  // namespace understudy::report
