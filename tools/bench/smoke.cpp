#include "tools/bench/smoke.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <regex>

#include "common/error.hpp"
#include "logging_channel/log_file.hpp"
#include "tools/bench/figure.hpp"
#include "tools/bench/quantile.hpp"
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

    std::vector<Figure> measure() {
        measure_spin();
        measure_system_call();
        measure_redis();
        measure_log_volume();
        measure_takeover();
        return figures_;
    }

  private:
    void measure_spin();
    void measure_system_call();
    void measure_redis();
    void measure_log_volume();
    void measure_takeover();
    double redis_set_rate();
    void add(Figure figure) {
        site_.stage().timeline().say("bench", fmt::format("{}: {:.3f} {}", figure.name, figure.value, figure.unit));
        figures_.push_back(std::move(figure));
    }

    Site& site_;
    const SmokeOptions& options_;
    std::vector<Figure> figures_;
};

void Smoke::measure_spin() {
    // The last of two passes counts: a pair has settled by then.
    const std::vector<std::string> rounds = {"--rounds", std::to_string(options_.spin_rounds), "--passes", "2"};
    SpinTimes native;
    SpinTimes alone;
    SpinTimes guarded;
    for (unsigned i = 0; i < options_.repeats; ++i) {
        std::vector<std::string> command = {site_.program("native/spin").string()};
        command.insert(command.end(), rounds.begin(), rounds.end());
        keep_best(native, spin_times(site_.run(command, kLongest)));
        {
            const auto guest = site_.start_alone("spin", rounds);
            site_.await_end(*guest, kLongest);
            keep_best(alone, spin_times(guest->console()));
        }
        {
            const auto guest = site_.start_protected("spin", rounds);
            site_.await_end(*guest, kLongest);
            // The kernel under way when the pair had settled is not counted.
            keep_best(guarded, spin_times(guest->console(), guest->console_lines_unsettled() + 1));
        }
    }
    for (const auto& measured : native) {
        const std::string& kernel = measured.first;
        const auto ms = [&](const SpinTimes& times) { return times.contains(kernel) ? times.at(kernel) / 1e6 : 0.0; };
        site_.stage().timeline().say(
            "spin", fmt::format("{:12} native {:8.1f} ms, alone {:8.1f} ms, protected {:8.1f} ms", kernel, ms(native),
                                ms(alone), ms(guarded)));
    }
    const double guest_ratio = speed_ratio(alone, native);
    const double protected_ratio = speed_ratio(guarded, alone);
    add({"spin, guest to native", guest_ratio, "", ">= 0.90", guest_ratio >= 0.90, "speed, geometric mean of kernels"});
    add({"spin, protected to alone", protected_ratio, "", ">= 0.95", protected_ratio >= 0.95,
         fmt::format("{} kernels, from a second after the pair was formed", guarded.size())});
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
    const double call = median(nanoseconds);
    add({"patched system call", call, "ns", "< 100", call > 0 && call < 100, "clock_gettime, C library included"});
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
    const double ratio = median(guarded) / median(alone);
    add({"redis SET, protected to alone", ratio, "", ">= 0.5", ratio >= 0.5,
         fmt::format("{:.0f}/s and {:.0f}/s, 50 clients, medians of {}", median(guarded), median(alone),
                     alone.size())});
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
    add({"log volume to what is allowed", volume / allowed, "", "<= 1", volume <= allowed,
         fmt::format("{:.1f} MB for {:.1f} MB of input in {:.1f} s; allowed 1.2 x input + 200 kB/s", volume / 1e6,
                     static_cast<double>(input) / 1e6, seconds)});
}

void Smoke::measure_takeover() {
    const auto report = site_.stage().directory().path() / "demo.json";
    static_cast<void>(site_.run({site_.executable().string(), "demo", "--rounds", std::to_string(options_.demo_rounds),
                                 "--json", report.string()},
                                kLongest));
    std::ifstream in(report);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto values = [&](const std::string& field) {
        const std::regex pattern("\"" + field + "\":([0-9.]+)");
        std::vector<double> found;
        for (auto at = std::sregex_iterator(text.begin(), text.end(), pattern); at != std::sregex_iterator(); ++at) {
            found.push_back(std::stod((*at)[1]));
        }
        return found;
    };
    const auto worst = [](const std::vector<double>& all) { return all.empty() ? 0 : *std::ranges::max_element(all); };
    const auto takeovers = values("takeover_ms");
    const auto gaps = values("gap_ms");
    add({"takeover, longest", worst(takeovers), "ms", "< 50", !takeovers.empty() && worst(takeovers) < 50,
         fmt::format("median {:.1f} ms of {} kills", median(takeovers), takeovers.size())});
    add({"gap a client saw, longest", worst(gaps), "ms", "< 300", !gaps.empty() && worst(gaps) < 300,
         fmt::format("median {:.1f} ms, from the kill on", median(gaps))});
}

}  // namespace

void run_smoke_bench(const SmokeOptions& options) {
    Site site(std::filesystem::read_symlink("/proc/self/exe"));
    Smoke smoke(site, options);
    print_figures(smoke.measure(), options.json);
}

}  // namespace understudy::tools
