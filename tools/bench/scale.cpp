#include "tools/bench/scale.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "common/tell.hpp"
#include "common/temporary_directory.hpp"
#include "tools/bench/arbiter_clusters.hpp"
#include "tools/bench/arbiter_load.hpp"
#include "tools/bench/linux_image.hpp"
#include "tools/bench/rows.hpp"
#include "tools/bench/scale_guests.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::tools {
namespace {

using arbiter::Outcome;
using arbiter::Verdict;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr const char* kArbiter = "arbiter";
constexpr const char* kMemory = "memory";
constexpr const char* kGuests = "guests";
constexpr auto kPatience = 60s;  // of a replica; what is not answered by then is counted
constexpr Generation kPaired{2};
constexpr std::size_t kAtOnce = 256;  // pairs that are being formed

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

struct FailoverOfAll {
    double forming_seconds = 0;
    std::vector<double> answered_ms;  // of each that asked, since the moment at which all lost their peers
    PairDecisions decisions;
};

// The hosts are clients of this thread, with a connection each.
class Hosts {
  public:
    Hosts(const std::string& url, const ScaleBenchOptions& options, unsigned repetition)
        : options_(options),
          repetition_(repetition),
          found_{.answered_ms = {}, .decisions = PairDecisions(options.pairs)} {
        for (std::size_t i = 0; i < options.hosts; ++i) {
            clients_.push_back(arbiter::connect(io_, url));
        }
    }

    FailoverOfAll run() {
        form_pairs();
        fail_over();
        return std::move(found_);
    }

  private:
    [[nodiscard]] VmId vm(std::size_t pair) const { return fmt::format("scale-{}-{:06}", repetition_, pair); }
    [[nodiscard]] static ReplicaId replica(std::size_t host) { return fmt::format("host-{:04}/1/4f1d9c3a", host); }

    void form_pairs() {
        const auto begin = Clock::now();
        for (std::size_t i = 0; i < std::min(kAtOnce, options_.pairs); ++i) {
            form_next();
        }
        io_.run();
        io_.restart();
        if (formed_ != options_.pairs) {
            throw Error::format("{} of {} pairs could be formed", formed_, options_.pairs);
        }
        found_.forming_seconds = seconds_since(begin);
    }

    static void expect_granted(const Outcome& outcome) {
        if (outcome.verdict != Verdict::yes) {
            throw Error::format("the arbiter did not register a pair: {}", outcome.explanation);
        }
    }

    void form_next() {
        if (next_ == options_.pairs) {
            return;
        }
        const std::size_t pair = next_++;
        const auto [primary, backup] = hosts_of(pair, options_.hosts);
        const auto& client = clients_[primary];
        client->form({vm(pair), {0}, {1}, replica(primary), {replica(primary)}}, kPatience,
                     [this, pair, primary = primary, backup = backup](const Outcome& claimed) {
                         expect_granted(claimed);
                         clients_[primary]->form(
                             {vm(pair), {1}, kPaired, replica(primary), {replica(primary), replica(backup)}}, kPatience,
                             [this](const Outcome& outcome) {
                                 expect_granted(outcome);
                                 ++formed_ == options_.pairs ? io_.stop() : form_next();
                             });
                     });
    }

    // Every backup asks; of the pairs that lost nothing but their channel, half of all, the primary does as well.
    void fail_over() {
        const std::size_t askers = options_.pairs + options_.pairs / 2;
        const auto begin = Clock::now();
        for (std::size_t pair = 0; pair < options_.pairs; ++pair) {
            const auto [primary, backup] = hosts_of(pair, options_.hosts);
            if (pair % 2 == 1) {
                ask(pair, primary, begin, askers);
            }
            ask(pair, backup, begin, askers);
        }
        io_.run();
    }

    void ask(std::size_t pair, std::size_t host, Clock::time_point begin, std::size_t askers) {
        clients_[host]->test_and_set({vm(pair), kPaired, replica(host)}, kPatience,
                                     [this, pair, begin, askers](const Outcome& outcome) {
                                         found_.answered_ms.push_back(1e3 * seconds_since(begin));
                                         found_.decisions.note(pair, outcome.verdict);
                                         if (found_.answered_ms.size() == askers) {
                                             io_.stop();
                                         }
                                     });
    }

    const ScaleBenchOptions& options_;
    const unsigned repetition_;
    boost::asio::io_context io_;
    std::vector<std::unique_ptr<arbiter::Client>> clients_;
    std::size_t next_ = 0;
    std::size_t formed_ = 0;
    FailoverOfAll found_;
};

// What all repetitions came to, a value for each.
struct ScaleFigures {
    std::vector<double> forming;  // pairs a second
    std::vector<double> p50_ms;
    std::vector<double> p99_ms;
    std::vector<double> last_ms;
    std::vector<double> rates;  // answers a second
    double wrong = 0;
    double unanswered = 0;

    void add(const FailoverOfAll& found, std::size_t pairs) {
        forming.push_back(static_cast<double>(pairs) / found.forming_seconds);
        p50_ms.push_back(report::quantile(found.answered_ms, 0.5));
        p99_ms.push_back(report::quantile(found.answered_ms, 0.99));
        last_ms.push_back(report::highest(found.answered_ms));
        rates.push_back(1e3 * static_cast<double>(found.answered_ms.size()) / last_ms.back());
        wrong += static_cast<double>(found.decisions.wrong());
        unanswered += static_cast<double>(found.decisions.unanswered());
    }
};

void add_arbiter_rows(std::vector<report::Row>& rows, const ScaleBenchOptions& options) {
    const TemporaryDirectory directory("understudy-bench");
    const BenchedArbiter servers(directory.path());
    wait_until_serving(servers.url());
    ScaleFigures figures;
    for (unsigned i = 0; i < options.repeats; ++i) {
        tell("repetition {} of {}: {} pairs on {} hosts\n", i + 1, options.repeats, options.pairs, options.hosts);
        static_cast<void>(servers.settled_leader());
        figures.add(Hosts(servers.url(), options, i).run(), options.pairs);
    }
    const std::string all = fmt::format("{} pairs fail over at once", options.pairs);
    const auto add = [&](const std::string& what, const char* unit, const std::vector<double>& values) {
        rows.push_back({.what = what, .unit = unit, .measured = {"", values}});
    };
    add("pairs registered and formed", "pairs/s", figures.forming);
    add(all + ": answered, median", "ms", figures.p50_ms);
    add(all + ": answered, 99th percentile", "ms", figures.p99_ms);
    add(all + ": the last answer", "ms", figures.last_ms);
    rows.back().detail = fmt::format("{:.0f} answers a second; {} asked, from {} hosts", report::median(figures.rates),
                                     options.pairs + options.pairs / 2, options.hosts);
    add("pairs with none or two that won", "", {figures.wrong});
    rows.back().target = report::at_most(0);
    add("replicas without an answer", "", {figures.unanswered});
    rows.back().target = report::at_most(0);
}

}  // namespace

void PairDecisions::note(std::size_t pair, Verdict verdict) {
    if (verdict == Verdict::unknown) {
        ++unanswered_;
        return;
    }
    ++answers_;
    if (verdict == Verdict::yes) {
        ++winners_.at(pair);
    }
}

std::size_t PairDecisions::wrong() const {
    return static_cast<std::size_t>(std::ranges::count_if(winners_, [](std::size_t winners) { return winners != 1; }));
}

// The pairs of one primary's host have backups on all others in turn.
PairHosts hosts_of(std::size_t pair, std::size_t hosts) {
    const std::size_t primary = pair % hosts;
    return {primary, (primary + 1 + pair / hosts % (hosts - 1)) % hosts};
}

const std::vector<std::string>& scale_bench_rows() {
    static const std::vector<std::string> names = {kArbiter, kMemory, kGuests};
    return names;
}

report::Section measure_scale(const ScaleBenchOptions& options) {
    if (options.hosts < 2) {
        throw Error("a pair's replicas run on two hosts: name at least --hosts 2");
    }
    report::Section section;
    section.name = "scale";
    section.title = "Many at once";
    section.text =
        "Three arbiter servers on one disk; every pair is registered and formed, then, at one moment, every backup has "
        "lost its primary and asks which of the two goes on, and half of the primaries ask as well. Times count from "
        "that moment. The hosts are one connection each, of one process on the servers' machine. Then guests by their "
        "memory, half of it data, which a backup joins, and several protected guests on one host.";
    section.command = fmt::format("understudy bench scale --pairs {} --hosts {} --memory {} --guests {} --repeats {}{}",
                                  options.pairs, options.hosts, fmt::join(options.memory, ","),
                                  fmt::join(options.guests, ","), options.repeats, only_words(options.only));
    const auto wanted = [&](const char* row) {
        return options.only.empty() || std::ranges::find(options.only, row) != options.only.end();
    };
    std::optional<BenchImage> image;  // as long as the host's network is there
    if (wanted(kMemory) || wanted(kGuests)) {
        image.emplace(options.image, std::vector<std::string>{"redis-server"});
    }
    const auto add = [&](std::vector<report::Row> rows) {
        section.rows.insert(section.rows.end(), rows.begin(), rows.end());
    };
    if (wanted(kArbiter)) {
        add_arbiter_rows(section.rows, options);
    }
    if (wanted(kMemory)) {
        add(joins_by_memory(options.memory, image->file(), options.repeats));
    }
    if (wanted(kGuests)) {
        add(pairs_on_one_host(options.guests, image->file(), options.repeats));
    }
    return section;
}

}  // namespace understudy::tools
