#include "tools/bench/distance.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "tools/bench/linux_image.hpp"
#include "tools/bench/on_lan.hpp"
#include "tools/bench/request_load.hpp"
#include "tools/bench/rows.hpp"
#include "tools/bench/site.hpp"
#include "tools/demo/guest.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::tools {
namespace {

constexpr const char* kGuestAddress = "10.79.0.4";

// Of one variant and number of clients, a value for each repetition.
struct Answers {
    std::vector<double> rates;
    std::vector<double> p50_ms;
    std::vector<double> p99_ms;

    void add(const RequestFigures& figures) {
        const auto milliseconds = [&](double q) {
            return std::chrono::duration<double, std::milli>(figures.latency.quantile(q)).count();
        };
        rates.push_back(figures.rate());
        p50_ms.push_back(milliseconds(0.5));
        p99_ms.push_back(milliseconds(0.99));
    }
};
using ByClients = std::map<std::size_t, Answers>;
using Values = std::vector<double> Answers::*;

class DistanceBench {
  public:
    DistanceBench(Site& site, const DistanceBenchOptions& options, const BenchImage& image)
        : site_(site), options_(options), image_(site, image.file()) {}

    void measure(report::Section& section) {
        for (unsigned i = 0; i < options_.repeats; ++i) {
            measure_guest(std::nullopt, alone_);
            for (const unsigned delay : options_.delays_ms) {
                measure_guest(delay, guarded_[delay]);
            }
        }
        for (const std::size_t clients : options_.clients) {
            for (const unsigned delay : options_.delays_ms) {
                add_rows(clients, delay);
            }
        }
        section.rows = rows_.take();
        section.plots.emplace_back(by_delay("Answers", "requests/s", &Answers::rates));
        section.plots.emplace_back(by_delay("Median of their time", "ms", &Answers::p50_ms));
    }

  private:
    void measure_guest(std::optional<unsigned> delay_ms, ByClients& found) {
        const std::string name = delay_ms ? fmt::format("a backup {} ms away", *delay_ms) : "unprotected";
        const GuestDescription redis = describe(GuestKind::redis);
        Site::GuestWords words = image_.guest(redis.arguments, redis.memory, kGuestAddress, redis.ready);
        words.channel_delay = std::chrono::milliseconds(delay_ms.value_or(0));
        const auto guest = delay_ms ? site_.start_protected(words) : site_.start_alone(words);
        for (const std::size_t clients : options_.clients) {
            RequestLoad load{.host = kGuestAddress, .connections = clients};
            load.duration = std::chrono::seconds(options_.seconds);
            Answers& answers = found[clients];
            answers.add(ask(site_.stage(), load));
            site_.stage().timeline().say(
                "bench", fmt::format("{}, {} clients: {:.0f}/s, p50 {:.2f} ms, p99 {:.2f} ms", name, clients,
                                     answers.rates.back(), answers.p50_ms.back(), answers.p99_ms.back()));
        }
        if (guest->ended() || (delay_ms && !guest->is_protected())) {
            throw Error("the guest lost its backup, or ended, while it was measured");
        }
    }

    void add_rows(std::size_t clients, unsigned delay_ms) {
        const auto add = [&](const char* what, const char* unit, Values values) {
            rows_.add(
                {.what = fmt::format("{} client{}, {} ms each way{}", clients, clients == 1 ? "" : "s", delay_ms, what),
                 .unit = unit,
                 .measured = {"protected", guarded_[delay_ms][clients].*values},
                 .baseline = report::Samples{"unprotected", alone_[clients].*values}});
        };
        add("", "requests/s", &Answers::rates);
        add(", p50", "ms", &Answers::p50_ms);
        add(", p99", "ms", &Answers::p99_ms);
    }

    [[nodiscard]] report::CurvePlot by_delay(const char* title, const char* unit, Values values) {
        report::CurvePlot plot{
            .title = title, .x_label = "ms each way", .y_label = unit, .y_scale = report::Scale::log, .curves = {}};
        for (const std::size_t clients : options_.clients) {
            plot.curves.push_back({fmt::format("{} client{}", clients, clients == 1 ? "" : "s"), {}});
            for (const unsigned delay : options_.delays_ms) {
                plot.curves.back().points.push_back(
                    {static_cast<double>(delay), report::median(guarded_[delay][clients].*values)});
            }
        }
        return plot;
    }

    Site& site_;
    const DistanceBenchOptions& options_;
    LinuxImage image_;
    ByClients alone_;
    std::map<unsigned, ByClients> guarded_;
    Rows rows_{site_.stage().timeline()};
};

}  // namespace

report::Section measure_distance(const DistanceBenchOptions& options) {
    report::Section section;
    section.name = "distance";
    section.title = "A backup far away";
    section.text =
        "Debian's redis-server in a Linux guest whose logging channel takes so long each way, by a relay, beside the "
        "guest unprotected; each client asks when it is answered. An answer leaves when the backup has acknowledged "
        "what led to it: a way there and back. Light takes half a millisecond for 100 km of fibre; the paper on VMware "
        "FT (section 5.1) holds distances of up to 100 km possible, with latencies below 10 ms.";
    section.command =
        fmt::format("understudy bench distance --repeats {} --delays {} --clients {} --seconds {}", options.repeats,
                    fmt::join(options.delays_ms, ","), fmt::join(options.clients, ","), options.seconds);
    on_lan(section, options.image,
           [&](Site& site, const BenchImage& image) { DistanceBench(site, options, image).measure(section); });
    return section;
}

}  // namespace understudy::tools
