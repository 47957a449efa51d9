#include "tools/bench/overhead.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "common/error.hpp"
#include "tools/bench/lines_of.hpp"
#include "tools/bench/linux_image.hpp"
#include "tools/bench/on_lan.hpp"
#include "tools/bench/process_usage.hpp"
#include "tools/bench/redis_link.hpp"
#include "tools/bench/request_load.hpp"
#include "tools/bench/rows.hpp"
#include "tools/bench/site.hpp"
#include "tools/demo/guest.hpp"
#include "tools/demo/lan.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kLongest = 10min;  // of one measurement
constexpr const char* kHostAddress = "10.79.0.3";
constexpr const char* kGuestAddress = "10.79.0.4";
constexpr std::size_t kClients = 50;
constexpr const char* kCompute = "compute";
constexpr const char* kArchive = "archive";
constexpr const char* kRedis = "redis";
constexpr const char* kIdle = "idle";

// For /bin/sh, on the host as in a guest: PROGRAM is spin, DIR a folder in memory. Each work tells what it took.
constexpr const char* kWorks =
    R"sh(took() { a=$(date +%s%N); "$@" > "$DIR/said"; b=$(date +%s%N); echo "took $work $((b-a))"; }
unpack() { for n in 1 2 3 4 5; do mkdir "$DIR/$n"; tar -C "$DIR/$n" -xzf "$DIR/files.tgz"; done; }
echo begin
work=compute; took "$PROGRAM" --rounds 50
mkdir "$DIR/files"; i=0; while [ $i -lt 1000 ]; do seq $i 2000 > "$DIR/files/$i"; i=$((i+1)); done
tar -C "$DIR" -czf "$DIR/files.tgz" files
work=archive; took unpack
echo all done)sh";

enum class Variant : std::uint8_t { host, alone, guarded };
constexpr std::array kVariants = {Variant::host, Variant::alone, Variant::guarded};

std::string name_of(Variant variant) {
    switch (variant) {
        case Variant::host:
            return "native";
        case Variant::alone:
            return "unprotected";
        case Variant::guarded:
            break;
    }
    return "protected";
}

// A value for each repetition, of each variant.
using Values = std::map<Variant, std::vector<double>>;

// What was measured of a load, by its name.
struct Load {
    Values p50_us;
    Values p99_us;
    Values processor_us;
    std::vector<double> logged_mbits;
    std::vector<double> logged_records;
};

class OverheadBench {
  public:
    OverheadBench(Site& site, const OverheadBenchOptions& options, const BenchImage& image)
        : site_(site),
          options_(options),
          image_(site, image.file()),
          host_(Lan::add_station(site.stage(), "host", kHostAddress)) {}

    std::vector<report::Row> measure() {
        for (unsigned i = 0; i < options_.repeats; ++i) {
            site_.stage().timeline().say("bench", fmt::format("repetition {} of {}", i + 1, options_.repeats));
            for (const Variant variant : kVariants) {
                if (wanted(kCompute) || wanted(kArchive)) {
                    work(variant);
                }
                if (wanted(kRedis) || (wanted(kIdle) && variant != Variant::host)) {
                    serve(variant);
                }
            }
        }
        add_works();
        add_loads();
        add_idling();
        return rows_.take();
    }

  private:
    [[nodiscard]] bool wanted(const char* row) const {
        return options_.only.empty() || std::ranges::find(options_.only, row) != options_.only.end();
    }
    std::unique_ptr<Site::Guest> start(Variant variant, const Site::GuestWords& words) {
        return variant == Variant::guarded ? site_.start_protected(words) : site_.start_alone(words);
    }

    void take_works(Variant variant, const std::vector<std::string>& lines) {
        for (const char* name : {kCompute, kArchive}) {
            works_[name][variant].push_back(figure_of(lines, fmt::format("took {} ([0-9]+)", name)) / 1e9);
        }
    }

    void work(Variant variant) {
        if (variant == Variant::host) {
            const std::string script =
                fmt::format("DIR=$(mktemp -d -p /dev/shm); trap 'rm -r \"$DIR\"' EXIT; PROGRAM={}\n{}",
                            site_.program("native/spin").string(), kWorks);
            take_works(variant, site_.run({"/bin/sh", "-c", script}, kLongest));
            return;
        }
        // A guest that is to be protected is so by the time the first begins.
        const auto guest =
            start(variant, image_.guest(image_.with_program(site_.program("spin"),
                                                            fmt::format("PROGRAM=/tmp/program; DIR=/tmp; sleep 6\n{}\n"
                                                                        "exec sleep 1000",
                                                                        kWorks)),
                                        "512M"));
        site_.stage().until(
            [&] {
                return guest->ended() || std::ranges::any_of(guest->console(), [](const std::string& line) {
                           return line.starts_with("all done");
                       });
            },
            kLongest, "the guest's work");
        const auto& lines = guest->console();
        const auto begin = std::ranges::find_if(lines, [](const auto& line) { return line.starts_with("begin"); });
        guest->expect_settled_before(static_cast<std::size_t>(begin - lines.begin()));
        take_works(variant, lines);
    }

    void serve(Variant variant) {
        const GuestDescription redis = describe(GuestKind::redis);
        if (variant == Variant::host && !no_redis_.empty()) {
            return;
        }
        if (variant == Variant::host) {
            auto serves = std::make_shared<bool>(false);
            std::vector<std::string> command = host_.command;
            command.insert(command.end(), redis.arguments.begin(), redis.arguments.end());
            const auto server = site_.stage().start("host-server", command, [serves, &redis](std::string_view line) {
                *serves = *serves || line.find(redis.ready) != std::string_view::npos;
            });
            site_.stage().until([&] { return *serves; }, 30s, "the host's server to be ready");
            load(
                variant, kHostAddress, [&] { return processor_seconds_below(server->pid()); }, nullptr);
            return;
        }
        const auto guest = start(variant, image_.guest(redis.arguments, redis.memory, kGuestAddress, redis.ready));
        const auto processor = [&] { return guest->processor_seconds(); };
        if (wanted(kIdle)) {
            idle(variant, *guest);
        }
        load(variant, kGuestAddress, processor, guest.get());
        if (guest->ended() || (variant == Variant::guarded && !guest->is_protected())) {
            throw Error("the guest lost its backup, or ended, while it was measured");
        }
    }

    void load(Variant variant, const char* address, const std::function<double()>& processor,
              const Site::Guest* guest) {
        for (const double rate : options_.rates) {
            if (!wanted(kRedis)) {
                continue;
            }
            RequestLoad requests{.host = address, .connections = kClients, .rate = rate};
            requests.duration = std::chrono::seconds(options_.seconds);
            Load& found = loads_[rate];
            const auto from = Event::now();
            const auto begin = Stage::Clock::now();
            const double before = processor();
            const RequestFigures figures = ask(site_.stage(), requests);
            const double seconds = std::chrono::duration<double>(Stage::Clock::now() - begin).count();
            const auto microseconds = [&](double q) {
                return std::chrono::duration<double, std::micro>(figures.latency.quantile(q)).count();
            };
            found.p50_us[variant].push_back(microseconds(0.5));
            found.p99_us[variant].push_back(microseconds(0.99));
            found.processor_us[variant].push_back((processor() - before) * 1e6 / (figures.rate() * seconds));
            if (const auto logged = guest != nullptr ? guest->logged(from, Event::now()) : std::nullopt) {
                found.logged_mbits.push_back(logged->bytes * 8 / 1e6 / logged->seconds);
                found.logged_records.push_back(logged->records / logged->seconds);
            }
        }
    }

    void idle(Variant variant, const Site::Guest& guest) {
        site_.stage().pause(1s);
        const auto from = Event::now();
        const double before = guest.processor_seconds();
        site_.stage().pause(std::chrono::seconds(options_.seconds));
        idle_percent_[variant].push_back(100 * (guest.processor_seconds() - before) / options_.seconds);
        if (const auto logged = guest.logged(from, Event::now())) {
            idle_mbits_.push_back(logged->bytes * 8 / 1e6 / logged->seconds);
            idle_records_.push_back(logged->records / logged->seconds);
        }
    }

    // A row for the guest beside the host, where that has what it takes, and one for the protected guest beside that.
    void compare(const std::string& what, const char* unit, Values& values, const std::string& detail = {},
                 std::optional<report::Target> target = std::nullopt) {
        for (const auto& [variant, baseline] :
             {std::pair{Variant::alone, Variant::host}, {Variant::guarded, Variant::alone}}) {
            const bool guarded = variant == Variant::guarded;
            report::Row row{.what = what, .unit = unit, .measured = {name_of(variant), values[variant]}};
            if (values[baseline].empty()) {
                row.detail = no_redis_;
            } else {
                row.baseline = report::Samples{name_of(baseline), values[baseline]};
            }
            if (guarded) {
                row.target = target;
                row.detail = detail;
            }
            rows_.add(std::move(row));
        }
    }

    void add_works() {
        if (wanted(kCompute)) {
            constexpr double kAllowed = 1 / 0.99;
            compare("spin's kernels, counted in the guest", "s", works_[kCompute], "", report::ratio_at_most(kAllowed));
        }
        if (wanted(kArchive)) {
            compare("an archive of 1,000 files unpacked, five times", "s", works_[kArchive]);
        }
    }

    void add_loads() {
        for (auto& [rate, found] : loads_) {
            const std::string name = fmt::format("redis, {:.0f} requests/s", rate);
            const std::string logged =
                found.logged_mbits.empty()
                    ? "too short for the log's figures"
                    : fmt::format("{:.1f} Mbit/s of log, {:.0f} records/s", report::median(found.logged_mbits),
                                  report::median(found.logged_records));
            compare(name + ", p50", "us", found.p50_us, logged);
            compare(name + ", p99", "us", found.p99_us);
            compare(name + ", processor time each", "us", found.processor_us,
                    "of the server's processes: with a guest, its monitor's; protected, of both replicas");
        }
    }

    void add_idling() {
        if (!wanted(kIdle)) {
            return;
        }
        rows_.add({.what = "an idle guest's processor time",
                   .unit = "%",
                   .measured = {name_of(Variant::guarded), idle_percent_[Variant::guarded]},
                   .baseline = report::Samples{name_of(Variant::alone), idle_percent_[Variant::alone]},
                   .detail = idle_mbits_.empty()
                                 ? "too short for the log's figures"
                                 : fmt::format("of a core, both replicas; {:.3f} Mbit/s of log, {:.1f} records/s",
                                               report::median(idle_mbits_), report::median(idle_records_))});
    }

    Site& site_;
    const OverheadBenchOptions& options_;
    LinuxImage image_;
    Lan::Station host_;                                    // of the host's own server
    const std::string no_redis_ = redis_server_missing();  // why there is none
    std::map<std::string, Values> works_;
    std::map<double, Load> loads_;
    Values idle_percent_;
    std::vector<double> idle_mbits_;
    std::vector<double> idle_records_;
    Rows rows_{site_.stage().timeline()};
};

}  // namespace

const std::vector<std::string>& overhead_bench_rows() {
    static const std::vector<std::string> names = {kCompute, kArchive, kRedis, kIdle};
    return names;
}

report::Section measure_overhead(const OverheadBenchOptions& options) {
    report::Section section;
    section.name = "overhead";
    section.title = "Overhead";
    section.text =
        "The same work on the host, in a guest and in a protected guest, by turns: programs that compute, an archive "
        "unpacked in memory, Debian's redis-server by 50 clients at an offered rate on a LAN in network namespaces, "
        "and nothing.";
    section.command = fmt::format("understudy bench overhead --repeats {} --rates {} --seconds {}{}", options.repeats,
                                  fmt::join(options.rates, ","), options.seconds, only_words(options.only));
    on_lan(section, options.image, [&](Site& site, const BenchImage& image) {
        section.rows = OverheadBench(site, options, image).measure();
        section.plots.emplace_back(bars_of(section.rows, "Time of a work", "s", name_of(Variant::guarded)));
        section.plots.emplace_back(bars_of(section.rows, "For each request", "us", name_of(Variant::guarded)));
    });
    return section;
}

}  // namespace understudy::tools
