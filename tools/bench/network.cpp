#include "tools/bench/network.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "tools/bench/lines_of.hpp"
#include "tools/bench/linux_image.hpp"
#include "tools/bench/on_lan.hpp"
#include "tools/bench/request_load.hpp"
#include "tools/bench/rows.hpp"
#include "tools/bench/site.hpp"
#include "tools/demo/guest.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using report::Samples;

constexpr auto kLongest = 10min;
constexpr const char* kGuestAddress = "10.79.0.4";
constexpr std::size_t kRateClients = 50;  // where requests are offered at a rate
constexpr std::size_t kManyClients = 2000;
constexpr double kFullSpeed = 50'000;           // Mbit/s; what is offered beyond is no rate
constexpr double kFullPacketSpeed = 5'000'000;  // a second; likewise
constexpr std::array kDirections = {"receive", "transmit"};

double microseconds(std::chrono::nanoseconds duration) {
    return std::chrono::duration<double, std::micro>(duration).count();
}

// Bytes that a tap has given to its guest.
double bytes_into(const std::string& tap) {
    std::ifstream in("/proc/self/net/dev");
    for (std::string line; std::getline(in, line);) {
        const auto colon = line.find(':');
        if (colon == std::string::npos || line.find(tap) + tap.size() != colon) {
            continue;
        }
        constexpr int kTransmitted = 8;  // fields of what the host receives
        std::istringstream fields(line.substr(colon + 1));
        double value = 0;
        for (int i = 0; i <= kTransmitted; ++i) {
            fields >> value;
        }
        return value;
    }
    return 0;
}

// Of one variant and load, a value for each repetition.
struct Served {
    std::vector<double> rates;
    std::vector<double> p50_us;
    std::vector<double> p99_us;
    std::vector<double> processor_us;  // of the guest's processes, for each request
    std::vector<double> logged_mbits;
    std::vector<double> logged_records;  // a second
    std::vector<double> input_mbits;
    std::uint64_t unanswered = 0;
    LatencyHistogram latency;

    void add(const RequestFigures& figures) {
        rates.push_back(figures.rate());
        p50_us.push_back(microseconds(figures.latency.quantile(0.5)));
        p99_us.push_back(microseconds(figures.latency.quantile(0.99)));
        unanswered += figures.unanswered;
        latency.add(figures.latency);
    }
};

// Datagrams, a value for each repetition.
struct Packets {
    std::vector<double> rates;  // that arrived, a second
    std::vector<double> lost;   // part of what was sent
};

// A guest of one variant, and all that was measured of it.
struct Variant {
    const char* name;
    bool is_protected;
    std::map<std::size_t, Served> by_clients{};
    Served at_rate{};
    std::vector<double> idle_mbits{};
    std::map<std::pair<std::string, double>, std::vector<double>> bulk{};  // Mbit/s, by direction and offer
    std::map<std::pair<std::string, double>, Packets> packets{};           // likewise
};

class NetworkBench {
  public:
    NetworkBench(Site& site, const NetworkBenchOptions& options, const BenchImage& image)
        : site_(site), options_(options), image_(site, image.file()) {}

    void measure(report::Section& section) {
        for (unsigned i = 0; i < options_.repeats; ++i) {
            site_.stage().timeline().say("bench", fmt::format("repetition {} of {}", i + 1, options_.repeats));
            for (Variant* variant : {&alone_, &guarded_}) {
                measure_requests(*variant);
            }
            for (Variant* variant : {&alone_, &guarded_}) {
                measure_bulk(*variant);
            }
        }
        add_request_rows();
        add_rate_rows();
        add_bulk_rows();
        add_packet_rows();
        section.rows = rows_.take();
        add_plots(section);
    }

  private:
    std::unique_ptr<Site::Guest> start(const Variant& variant, const Site::GuestWords& words) {
        return variant.is_protected ? site_.start_protected(words) : site_.start_alone(words);
    }

    // The clients are a thread of this process, which is a station of the LAN itself.
    void measure_load(const Site::Guest& guest, std::size_t clients, double rate, Served& served) {
        RequestLoad load{.host = kGuestAddress, .connections = clients, .rate = rate};
        load.duration = std::chrono::seconds(options_.seconds);
        const auto from = Event::now();
        const double processor = guest.processor_seconds();
        const double input = bytes_into("one");
        const auto begin = Stage::Clock::now();
        const RequestFigures figures = ask(site_.stage(), load);
        const double seconds = std::chrono::duration<double>(Stage::Clock::now() - begin).count();
        served.add(figures);
        const double all = figures.rate() * seconds;  // those of the warm-up, too
        if (all > 0) {
            served.processor_us.push_back((guest.processor_seconds() - processor) * 1e6 / all);
        }
        served.input_mbits.push_back((bytes_into("one") - input) * 8 / 1e6 / seconds);
        if (const auto logged = guest.logged(from, Event::now())) {
            served.logged_mbits.push_back(logged->bytes * 8 / 1e6 / logged->seconds);
            served.logged_records.push_back(logged->records / logged->seconds);
        }
        site_.stage().timeline().say(
            "bench", fmt::format("{} clients{}: {:.0f}/s, p50 {:.0f} us, p99 {:.0f} us", clients,
                                 rate > 0 ? fmt::format(", {:.0f}/s offered", rate) : "", served.rates.back(),
                                 served.p50_us.back(), served.p99_us.back()));
    }

    void measure_requests(Variant& variant) {
        site_.stage().timeline().say("bench", fmt::format("redis, {}", variant.name));
        const GuestDescription redis = describe(GuestKind::redis);
        const auto guest = start(variant, image_.guest(redis.arguments, redis.memory, kGuestAddress, redis.ready));
        if (variant.is_protected) {
            const auto from = Event::now();
            site_.stage().pause(3s);  // three reports, of a guest that idles
            if (const auto logged = guest->logged(from, Event::now())) {
                variant.idle_mbits.push_back(logged->bytes * 8 / 1e6 / logged->seconds);
            }
        }
        measure_load(*guest, kRateClients, options_.rate, variant.at_rate);
        for (const std::size_t clients : options_.clients) {
            measure_load(*guest, clients, 0, variant.by_clients[clients]);
        }
        if (guest->ended() || (variant.is_protected && !guest->is_protected())) {
            throw Error("the guest lost its backup, or ended, while it was measured");
        }
    }

    [[nodiscard]] std::filesystem::path probe_file() const {
        return site_.executable().parent_path() / "guest" / "linux" / "probe";
    }

    void measure_bulk(Variant& variant) {
        if (options_.mbits.empty() && options_.packets.empty()) {
            return;
        }
        site_.stage().timeline().say("bench", fmt::format("bulk data and datagrams, {}", variant.name));
        const auto guest = start(
            variant, image_.guest(image_.program(probe_file(), {"serve", "7008"}), "256M", kGuestAddress, "ready"));
        const auto probe = [&](const std::string& what, double rate) {
            return site_.run({probe_file().string(), what, kGuestAddress, "7008", fmt::format("{}", rate),
                              std::to_string(options_.seconds)},
                             kLongest);
        };
        for (const std::string direction : kDirections) {
            for (const double mbits : options_.mbits) {
                variant.bulk[{direction, mbits}].push_back(figure_of(probe(direction, mbits), "mbits ([0-9.]+)"));
            }
            for (const double rate : options_.packets) {
                const auto told = probe(direction + "-packets", rate);
                Packets& packets = variant.packets[{direction, rate}];
                packets.rates.push_back(figure_of(told, "packets ([0-9.]+)"));
                packets.lost.push_back(figure_of(told, "lost ([0-9.]+)"));
            }
        }
    }

    void compare(const std::string& what, const char* unit, const std::vector<double>& guarded,
                 const std::vector<double>& alone, std::optional<report::Target> target, std::string detail = {}) {
        rows_.add({.what = what,
                   .unit = unit,
                   .measured = {guarded_.name, guarded},
                   .baseline = Samples{alone_.name, alone},
                   .target = target,
                   .detail = std::move(detail)});
    }

    void add_request_rows() {
        for (const std::size_t clients : options_.clients) {
            const Served& guarded = guarded_.by_clients[clients];
            const Served& alone = alone_.by_clients[clients];
            const std::string name = fmt::format("{} client{}", clients, clients == 1 ? "" : "s");
            compare(
                name, "requests/s", guarded.rates, alone.rates,
                clients == kRateClients ? std::optional(report::ratio_at_least(0.7)) : std::nullopt,
                fmt::format("each asks when it is answered; {:.1f} us of the host's processors a request, unprotected "
                            "{:.1f}",
                            report::median(guarded.processor_us), report::median(alone.processor_us)));
            compare(name + ", p50", "us", guarded.p50_us, alone.p50_us, std::nullopt);
            compare(name + ", p99", "us", guarded.p99_us, alone.p99_us,
                    clients == kManyClients ? std::optional(report::ratio_at_most(2)) : std::nullopt);
        }
    }

    void add_difference(const char* what, const std::vector<double>& guarded, const std::vector<double>& alone,
                        double bound) {
        std::vector<double> added;
        for (std::size_t i = 0; i < std::min(guarded.size(), alone.size()); ++i) {
            added.push_back(guarded[i] - alone[i]);
        }
        rows_.add({.what = what, .unit = "us", .measured = {"", added}, .target = report::at_most(bound)});
    }

    void add_rate_rows() {
        const Served& guarded = guarded_.at_rate;
        const Served& alone = alone_.at_rate;
        const std::string name = fmt::format("{:.0f} requests/s offered", options_.rate);
        compare(
            name + ", answered", "requests/s", guarded.rates, alone.rates, std::nullopt,
            fmt::format("{} clients; a request's time counts from when it was due; unanswered in the end: {} and {}",
                        kRateClients, guarded.unanswered, alone.unanswered));
        compare(name + ", p50", "us", guarded.p50_us, alone.p50_us, std::nullopt);
        compare(name + ", p99", "us", guarded.p99_us, alone.p99_us, std::nullopt);
        constexpr double kAddedMedian = 100;
        constexpr double kAddedTail = 1000;
        add_difference("p50 that protection adds", guarded.p50_us, alone.p50_us, kAddedMedian);
        add_difference("p99 that protection adds", guarded.p99_us, alone.p99_us, kAddedTail);
        compare(name + ", processor time each", "us", guarded.processor_us, alone.processor_us, std::nullopt,
                "of the host's processors, by the guest's processes: run; primary and backup");
        if (guarded.logged_mbits.empty()) {
            rows_.add_missing("logging bandwidth", "a measurement shorter than two seconds has no report");
            return;
        }
        rows_.add({.what = name + ", logging bandwidth",
                   .unit = "Mbit/s",
                   .measured = {"", guarded.logged_mbits},
                   .detail = fmt::format("for {:.1f} Mbit/s of input; {:.0f} records a second",
                                         report::median(guarded.input_mbits), report::median(guarded.logged_records))});
        std::vector<double> parts;
        for (std::size_t i = 0; i < std::min(guarded.logged_mbits.size(), guarded.input_mbits.size()); ++i) {
            parts.push_back(guarded.logged_mbits[i] / (1.05 * guarded.input_mbits[i] + 0.5));
        }
        rows_.add({.what = "logging bandwidth to 1.05 x input + 0.5 Mbit/s",
                   .measured = {"", parts},
                   .target = report::at_most(1)});
        if (!guarded_.idle_mbits.empty()) {
            rows_.add({.what = "logging bandwidth of an idle guest",
                       .unit = "Mbit/s",
                       .measured = {"", guarded_.idle_mbits},
                       .target = report::at_most(0.5)});
        }
    }

    void add_bulk_rows() {
        for (const std::string direction : kDirections) {
            for (const double mbits : options_.mbits) {
                constexpr double kTargetOffer = 1000;
                const double wanted = direction == "receive" ? 0.95 : 0.98;
                compare(fmt::format("{}, {}", direction,
                                    mbits < kFullSpeed ? fmt::format("{:.0f} Mbit/s offered", mbits) : "at full speed"),
                        "Mbit/s", guarded_.bulk[{direction, mbits}], alone_.bulk[{direction, mbits}],
                        mbits == kTargetOffer ? std::optional(report::ratio_at_least(wanted)) : std::nullopt);
            }
        }
    }

    void add_packet_rows() {
        for (const std::string direction : kDirections) {
            for (const double rate : options_.packets) {
                const Packets& guarded = guarded_.packets[{direction, rate}];
                const Packets& alone = alone_.packets[{direction, rate}];
                compare(fmt::format(
                            "{}, datagrams of 32 bytes, {}", direction,
                            rate < kFullPacketSpeed ? fmt::format("{:.0f} a second offered", rate) : "at full speed"),
                        "datagrams/s", guarded.rates, alone.rates, std::nullopt,
                        fmt::format("{:.1f} % lost on the way, unprotected {:.1f} %",
                                    100 * report::median(guarded.lost), 100 * report::median(alone.lost)));
            }
        }
    }

    [[nodiscard]] report::CurvePlot by_clients(const char* title, const char* unit, std::vector<double> Served::*values,
                                               report::Scale scale) {
        report::CurvePlot plot{.title = title,
                               .x_label = "clients",
                               .y_label = unit,
                               .x_scale = report::Scale::log,
                               .y_scale = scale,
                               .curves = {}};
        for (Variant* variant : {&alone_, &guarded_}) {
            plot.curves.push_back({variant->name, {}});
            for (const auto& [clients, served] : variant->by_clients) {
                plot.curves.back().points.push_back({static_cast<double>(clients), report::median(served.*values)});
            }
        }
        return plot;
    }

    void add_plots(report::Section& section) {
        section.plots.emplace_back(by_clients("Answers", "requests/s", &Served::rates, report::Scale::linear));
        section.plots.emplace_back(
            by_clients("99th percentile of their time", "us", &Served::p99_us, report::Scale::log));
        report::CurvePlot latency{.title = fmt::format("Time of an answer, {:.0f} requests/s offered", options_.rate),
                                  .x_label = "of the requests",
                                  .y_label = "us",
                                  .x_scale = report::Scale::quantile,
                                  .y_scale = report::Scale::log,
                                  .curves = {}};
        for (Variant* variant : {&alone_, &guarded_}) {
            latency.curves.push_back({variant->name, {}});
            constexpr int kSteps = 80;  // of a twentieth of a nine each
            for (int i = 0; i <= kSteps; ++i) {
                const double q = 1 - std::pow(10, -i / 20.0);
                latency.curves.back().points.push_back({q, microseconds(variant->at_rate.latency.quantile(q))});
            }
        }
        section.plots.emplace_back(latency);
        for (const auto& [title, unit] : {std::pair{"Bulk data", "Mbit/s"}, {"Datagrams", "datagrams/s"}}) {
            report::BarPlot bars = bars_of(section.rows, title, unit, guarded_.name);
            bars.is_log = true;
            section.plots.emplace_back(bars);
        }
    }

    Site& site_;
    const NetworkBenchOptions& options_;
    LinuxImage image_;
    Variant alone_{.name = "unprotected", .is_protected = false};
    Variant guarded_{.name = "protected", .is_protected = true};
    Rows rows_{site_.stage().timeline()};
};

}  // namespace

report::Section measure_network(const NetworkBenchOptions& options) {
    report::Section section;
    section.name = "network";
    section.title = "Under network load";
    section.text =
        "Debian's redis-server in a Linux guest on a LAN in network namespaces, unprotected and protected by turns; "
        "SET of 32 bytes. Then bulk data by TCP, and small datagrams by UDP.";
    section.command =
        fmt::format("understudy bench network --repeats {} --clients {} --rate {} --mbits {} --packets {} --seconds {}",
                    options.repeats, fmt::join(options.clients, ","), options.rate, fmt::join(options.mbits, ","),
                    fmt::join(options.packets, ","), options.seconds);
    on_lan(section, options.image,
           [&](Site& site, const BenchImage& image) { NetworkBench(site, options, image).measure(section); });
    return section;
}

}  // namespace understudy::tools
