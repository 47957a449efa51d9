#include "tools/bench/uncounted.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>

#include "common/error.hpp"
#include "tools/bench/lines_of.hpp"
#include "tools/bench/linux_image.hpp"
#include "tools/bench/rows.hpp"
#include "tools/bench/site.hpp"
#include "tools/demo/lan.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kLongest = 20min;  // of all programs, one after the other
constexpr const char* kMemory = "512M";
constexpr const char* kClientAddress = "10.78.0.2";
constexpr const char* kGuestAddress = "10.78.0.4";
constexpr double kLatencyMs = 60;

// A program that computes for a few seconds, those first that are hardly ever interrupted: what the others need tracked
// stays tracked for a while. Shell, without single quotes at its begin or end.
struct Program {
    const char* name;
    const char* what;
    const char* prepare;  // not measured
    const char* command;
    double allowed;  // of its time, for being protected; 0: no target
};
constexpr std::array kPrograms = {
    Program{"gzip", "31 MB of text, twice", "seq 1 4000000 > /tmp/text",
            "gzip -c /tmp/text > /dev/null; gzip -c /tmp/text > /dev/null", 0.15},
    Program{"keys", "redis KEYS over 100,000 keys, 40 times",
            "redis-server --daemonize yes --save '' --enable-debug-command yes > /dev/null; sleep 1; "
            "redis-cli debug populate 100000 > /dev/null",
            "for i in $(seq 40); do redis-cli keys '*' > /dev/null; done", 0.15},
    Program{"spin", "a loop of the shell's", ":", "i=0; while [ $i -lt 4000000 ]; do i=$((i+1)); done", 0.05},
    Program{"python", "a loop", ":", "python3 -c 's = 0\nfor i in range(60000000): s += i ^ 5'", 0.05},
    Program{"perl", "a regular expression", ":",
            "perl -e '$s = \"ab\" x 500; for (1..48000) { $n++ while $s =~ /a.*?b/g }'", 0.05},
    Program{"cc1", "gcc -O2 of 1,500 functions",
            "perl -e 'for (1..1500) { print \"int f$_(int a, int b) { int s = $_; for (int i = 0; i < a; i++) "
            "{ s += (i * b) ^ (s >> 3); if (s & 1) s -= a; } return s; }\\n\" }' > /tmp/many.c",
            "gcc -O2 -c /tmp/many.c -o /tmp/many.o", 0.15},
    Program{"sort", "a million numbers",
            "perl -e 'srand 1; print int(rand(1e9)), \"\\n\" for 1..1000000' > /tmp/numbers",
            "sort -n /tmp/numbers > /dev/null", 0},
    Program{"dicts", "50,000 entries in Python, over and over", ":",
            "python3 -c 'for _ in range(600): d = {i: str(i) for i in range(50000)}'", 0},
    Program{"stream", "32 MB copied, over and over", ":",
            "python3 -c 'a = bytearray(b\"x\") * (32 << 20); b = bytearray(32 << 20)\nfor _ in range(100): b[:] = a'",
            0},
};
constexpr const char* kLatency = "latency";

class UncountedBench {
  public:
    UncountedBench(Site& site, const UncountedBenchOptions& options, const BenchImage& image, std::string no_lan)
        : site_(site), options_(options), no_lan_(std::move(no_lan)), image_(site, image.file()) {}

    std::vector<report::Row> measure() {
        measure_programs();
        if (wanted(kLatency)) {
            measure_latency();
        }
        return rows_.take();
    }

  private:
    // Of one program in all runs.
    struct Times {
        std::vector<double> alone;  // seconds
        std::vector<double> guarded;
        std::vector<Site::Guest::Logged> logged;
    };

    [[nodiscard]] bool wanted(const std::string& row) const {
        return options_.only.empty() || std::ranges::find(options_.only, row) != options_.only.end();
    }
    [[nodiscard]] std::string script() const;
    void measure_programs();
    void take(const Site::Guest& guest, bool guarded);
    void report(const Program& program, const Times& times);
    void measure_latency();

    Site& site_;
    const UncountedBenchOptions& options_;
    const std::string no_lan_;  // why there is none
    LinuxImage image_;
    std::map<std::string, Times> times_;
    Rows rows_{site_.stage().timeline()};
};

// All programs, one after the other, each between two lines of the console. A guest that is to be protected is so by
// the time the first begins.
std::string UncountedBench::script() const {
    std::string script = "sleep 8\n";
    for (const Program& program : kPrograms) {
        if (wanted(program.name)) {
            script += fmt::format(
                "redis-cli shutdown nosave > /dev/null 2>&1\n{}\nsleep 1; echo begin {}; a=$(date "
                "+%s%N)\n{}\nstatus=$?; b=$(date +%s%N); echo end {} $status "
                "$((b-a))\n",
                program.prepare, program.name, program.command, program.name);
        }
    }
    return script + "echo all done; exec sleep 1000";
}

void UncountedBench::measure_programs() {
    if (std::ranges::none_of(kPrograms, [&](const Program& program) { return wanted(program.name); })) {
        return;
    }
    const auto words = image_.guest({"sh", "-c", script()}, kMemory);
    const auto done = [](const Site::Guest& guest) {
        return guest.ended() || std::ranges::any_of(guest.console(), [](const std::string& line) {
                   return line.starts_with("all done");
               });
    };
    for (unsigned i = 0; i < options_.repeats; ++i) {
        {
            const auto guest = site_.start_alone(words);
            site_.stage().until([&] { return done(*guest); }, kLongest, "the programs, unprotected");
            take(*guest, false);
        }
        const auto guest = site_.start_protected(words);
        site_.stage().until([&] { return done(*guest); }, kLongest, "the programs, protected");
        if (!guest->is_protected()) {
            throw Error("the guest lost its backup while it was measured");
        }
        take(*guest, true);
    }
    for (const Program& program : kPrograms) {
        if (wanted(program.name)) {
            report(program, times_[program.name]);
        }
    }
}

void UncountedBench::take(const Site::Guest& guest, bool guarded) {
    const auto& lines = guest.console();
    for (const Program& program : kPrograms) {
        const auto starting_with = [&](const std::string& words) {
            return static_cast<std::size_t>(
                std::ranges::find_if(lines, [&](const std::string& line) { return line.starts_with(words); }) -
                lines.begin());
        };
        const std::size_t begin = starting_with(fmt::format("begin {}", program.name));
        const std::size_t end = starting_with(fmt::format("end {} 0 ", program.name));
        if (begin >= lines.size() || end >= lines.size()) {
            continue;  // not wanted, or it failed
        }
        guest.expect_settled_before(begin);
        Times& times = times_[program.name];
        const double seconds = std::stod(lines[end].substr(lines[end].rfind(' ') + 1)) / 1e9;
        (guarded ? times.guarded : times.alone).push_back(seconds);
        if (const auto logged = guarded ? guest.logged_between_lines(begin, end) : std::nullopt) {
            times.logged.push_back(*logged);
        }
    }
}

void UncountedBench::report(const Program& program, const Times& times) {
    if (times.alone.empty() || times.guarded.empty()) {
        rows_.add_missing(program.name, "the image has no such program, or it failed");
        return;
    }
    const auto rate = [&](double Site::Guest::Logged::*what) {
        std::vector<double> rates;
        for (const auto& logged : times.logged) {
            rates.push_back(logged.*what / logged.seconds);
        }
        return report::median(rates);
    };
    using Logged = Site::Guest::Logged;
    const double copied = rate(&Logged::copied);
    report::Row row{.what = program.name,
                    .unit = "s",
                    .measured = {"protected", times.guarded},
                    .baseline = report::Samples{"unprotected", times.alone}};
    if (program.allowed > 0) {
        row.target = report::ratio_at_most(1 + program.allowed);
    }
    row.detail =
        times.logged.empty()
            ? fmt::format("{}; too short for the log's figures", program.what)
            : fmt::format("{}; {:.0f} intervals/s copied{}, {:.2f} MB/s of log, waited {:.0f} ms/s", program.what,
                          copied, copied >= 1 ? fmt::format(" (every {:.0f} ms)", 1e3 / copied) : "",
                          rate(&Logged::bytes) / 1e6, rate(&Logged::guest_waited_ms));
    rows_.add(std::move(row));
}

// What others in the same guest see while one of its programs computes.
void UncountedBench::measure_latency() {
    if (!no_lan_.empty()) {
        rows_.add_missing("redis beside a computation, p99", no_lan_);
        return;
    }
    const Lan::Station client = Lan::add_station(site_.stage(), "client", kClientAddress);
    constexpr std::array<std::pair<const char*, const char*>, 2> kBeside = {
        {{"a shell's loop", "while :; do :; done"},
         {"Python's dicts", "python3 -c 'while True: d = {i: str(i) for i in range(50000)}'"}}};
    for (const auto& [what, loop] : kBeside) {
        const auto words = image_.guest(
            {"sh", "-c", fmt::format("({}) & exec redis-server --protected-mode no --save '' --appendonly no", loop)},
            kMemory, kGuestAddress, "Ready to accept connections");
        const auto p99 = [&] {
            site_.stage().pause(3s);  // a backup that has just joined makes up for the transfer first
            auto command = client.command;
            for (const char* word :
                 {"redis-benchmark", "-h", kGuestAddress, "-t", "set", "-c", "1", "-n", "400", "--csv"}) {
                command.emplace_back(word);
            }
            return figure_of(site_.run(command, kLongest), R"re("SET"(?:,"[0-9.]+"){5},"([0-9.]+)")re");
        };
        std::vector<double> alone;
        std::vector<double> guarded;
        for (unsigned i = 0; i < options_.repeats; ++i) {
            {
                const auto guest = site_.start_alone(words);
                alone.push_back(p99());
            }
            const auto guest = site_.start_protected(words);
            guarded.push_back(p99());
        }
        rows_.add({.what = fmt::format("redis beside {}, p99", what),
                   .unit = "ms",
                   .measured = {"protected", guarded},
                   .baseline = report::Samples{"unprotected", alone},
                   .target = report::at_most(kLatencyMs),
                   .detail = "one client, one request after the other"});
    }
}

}  // namespace

const std::vector<std::string>& uncounted_bench_rows() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> result;
        result.reserve(kPrograms.size() + 1);
        for (const Program& program : kPrograms) {
            result.emplace_back(program.name);
        }
        result.emplace_back(kLatency);
        return result;
    }();
    return names;
}

report::Section measure_uncounted(const UncountedBenchOptions& options) {
    const bool wants_lan = options.only.empty() || std::ranges::find(options.only, kLatency) != options.only.end();
    const BenchImage image(options.image, {"redis-server", "python3-minimal", "gcc", "libc6-dev"});
    const std::string no_lan = wants_lan ? Lan::missing() : "not wanted";
    std::optional<Lan> lan;
    if (no_lan.empty()) {
        lan.emplace();  // before anything is started
    }
    Site site(std::filesystem::read_symlink("/proc/self/exe"));
    report::Section section;
    section.name = "uncounted";
    section.title = "Programs that count nothing";
    section.text =
        "Programs that compute for seconds without entering their kernel run in one guest after the other, unprotected "
        "and protected by turns: intervals that cannot be run again are copied to the backup.";
    section.command =
        fmt::format("understudy bench uncounted --repeats {}{}", options.repeats, only_words(options.only));
    section.rows = UncountedBench(site, options, image, no_lan).measure();
    section.plots.emplace_back(bars_of(section.rows, "Time of each program", "s", "protected"));
    return section;
}

}  // namespace understudy::tools
