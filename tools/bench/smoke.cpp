#include "tools/bench/smoke.hpp"

#include <fmt/format.h>

#include <optional>
#include <regex>

#include "common/error.hpp"
#include "logging_channel/log_file.hpp"
#include "tools/bench/rows.hpp"
#include "tools/bench/site.hpp"
#include "tools/bench/spin_times.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kLongest = 10min;  // of one measurement
constexpr unsigned kRedisRequests = 100'000;

class Smoke {
  public:
    Smoke(Site& site, const SmokeOptions& options) : site_(site), options_(options) {}

    std::vector<report::Row> measure() {
        measure_spin();
        measure_system_call();
        measure_redis();
        measure_log_volume();
        return rows_.take();
    }

  private:
    void measure_spin();
    void measure_system_call();
    void measure_redis();
    void measure_log_volume();
    double redis_set_rate();

    Site& site_;
    const SmokeOptions& options_;
    Rows rows_{site_.stage().timeline()};
};

void Smoke::measure_spin() {
    // The last of two passes counts: a pair has settled by then.
    const std::vector<std::string> rounds = {"--rounds", std::to_string(options_.spin_rounds), "--passes", "2"};
    std::vector<double> guest_ratios;
    std::vector<double> protected_ratios;
    std::size_t kernels = 0;
    for (unsigned i = 0; i < options_.repeats; ++i) {
        std::vector<std::string> command = {site_.program("native/spin").string()};
        command.insert(command.end(), rounds.begin(), rounds.end());
        const SpinTimes native = spin_times(site_.run(command, kLongest));
        SpinTimes alone;
        {
            const auto guest = site_.start_alone("spin", rounds);
            site_.await_end(*guest, kLongest);
            alone = spin_times(guest->console());
        }
        const auto guest = site_.start_protected("spin", rounds);
        site_.await_end(*guest, kLongest);
        // The kernel under way when the pair had settled is not counted.
        const SpinTimes guarded = spin_times(guest->console(), guest->console_lines_unsettled() + 1);
        guest_ratios.push_back(speed_ratio(alone, native));
        protected_ratios.push_back(speed_ratio(guarded, alone));
        kernels = guarded.size();
    }
    rows_.add({.what = "spin, guest's speed",
               .unit = "of native",
               .measured = {"", guest_ratios},
               .target = report::at_least(0.90),
               .detail = "geometric mean of kernels"});
    rows_.add({.what = "spin, protected guest's speed",
               .unit = "of unprotected",
               .measured = {"", protected_ratios},
               .target = report::at_least(0.95),
               .detail = fmt::format("{} kernels, from a second after the pair was formed", kernels)});
}

void Smoke::measure_system_call() {
    constexpr double kCalls = 5e6;
    std::vector<double> nanoseconds;
    static const std::regex pattern(R"(.*elapsed_ns=(\d+).*)");
    for (unsigned i = 0; i < options_.repeats; ++i) {
        const auto guest = site_.start_alone("spin", {"--observe-clock", fmt::format("{:.0f}", kCalls)});
        site_.await_end(*guest, kLongest);
        for (const std::string& line : guest->console()) {
            std::smatch match;
            if (std::regex_match(line, match, pattern)) {
                nanoseconds.push_back(std::stod(match[1]) / kCalls);
            }
        }
    }
    rows_.add({.what = "patched system call",
               .unit = "ns",
               .measured = {"", nanoseconds},
               .target = report::at_most(100),
               .detail = "clock_gettime, C library included"});
}

// Requests a second that redis-benchmark's SET with 50 clients gets from the present guest.
double Smoke::redis_set_rate() {
    const auto lines = site_.run({"redis-benchmark", "-p", std::to_string(site_.guest_port()), "-t", "set", "-n",
                                  std::to_string(kRedisRequests), "-c", "50", "--csv"},
                                 kLongest);
    for (const std::string& line : lines) {
        static const std::regex pattern(R"re("SET","([0-9.]+)".*)re");
        std::smatch match;
        if (std::regex_match(line, match, pattern)) {
            return std::stod(match[1]);
        }
    }
    throw Error("redis-benchmark printed no figure for SET");
}

void Smoke::measure_redis() {
    std::vector<double> alone;
    std::vector<double> guarded;
    for (unsigned i = 0; i < options_.repeats; ++i) {
        {
            const auto guest = site_.start_alone("kv", {"--port", "6379"});
            alone.push_back(redis_set_rate());
        }
        {
            const auto guest = site_.start_protected("kv", {"--port", "6379"});
            guarded.push_back(redis_set_rate());
        }
    }
    rows_.add({.what = "redis SET on kv, 50 clients",
               .unit = "requests/s",
               .measured = {"protected", guarded},
               .baseline = report::Samples{"unprotected", alone},
               .target = report::ratio_at_least(0.5)});
}

// The log of a guest under load against what came in: input bytes are those of the frames.
void Smoke::measure_log_volume() {
    const auto log = site_.stage().directory().path() / "volume.log";
    {
        const auto guest = site_.start_alone("kv", {"--port", "6379"}, {"--record", log.string()});
        static_cast<void>(redis_set_rate());
    }
    channel::LogReader reader(log);
    reader.skip_state();
    const std::uint64_t start = reader.offset();
    std::uint64_t input = 0;
    GuestTime first{-1};
    GuestTime last{0};
    for (;;) {
        const auto entry = reader.next();
        const auto* record = std::get_if<Record>(&entry);
        if (record == nullptr) {
            break;
        }
        for (const Frame& frame : record->input.frames) {
            input += frame.size();
        }
        first = first < GuestTime{0} ? record->input.clock : first;
        last = record->input.clock;
    }
    const double seconds = std::chrono::duration<double>(last - first).count();
    const auto volume = static_cast<double>(reader.offset() - start);
    const double allowed = 1.2 * static_cast<double>(input) + 200e3 * seconds;
    rows_.add({.what = "log volume",
               .unit = "of what is allowed",
               .measured = {"", {volume / allowed}},
               .target = report::at_most(1),
               .detail = fmt::format("{:.1f} MB for {:.1f} MB of input in {:.1f} s; allowed 1.2 x input + 200 kB/s",
                                     volume / 1e6, static_cast<double>(input) / 1e6, seconds)});
}

}  // namespace

report::Section measure_smoke(const SmokeOptions& options) {
    Site site(std::filesystem::read_symlink("/proc/self/exe"));
    report::Section section;
    section.name = "smoke";
    section.title = "The small kernel";
    section.text = "Programs built by understudy-cc: native, in a guest alone, and in a protected one, by turns.";
    section.command =
        fmt::format("understudy bench smoke --repeats {} --spin-rounds {}", options.repeats, options.spin_rounds);
    section.rows = Smoke(site, options).measure();
    section.plots.emplace_back(bars_of(section.rows, "Requests a second", "requests/s", "protected"));
    return section;
}

}  // namespace understudy::tools
