#include "tools/bench/against.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "common/error.hpp"
#include "tools/bench/against_postgres.hpp"
#include "tools/bench/linux_image.hpp"
#include "tools/bench/protected_store.hpp"
#include "tools/bench/rows.hpp"
#include "tools/bench/sentinel_store.hpp"
#include "tools/demo/lan.hpp"
#include "tools/demo/stage.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kWarmUp = 500ms;
constexpr auto kServeTime = 120s;  // until every client has its answer again
constexpr auto kCheckTime = 60s;

double microseconds(std::chrono::nanoseconds duration) {
    return std::chrono::duration<double, std::micro>(duration).count();
}

class AgainstBench {
  public:
    AgainstBench(Stage& stage, const AgainstBenchOptions& options)
        : stage_(stage), options_(options), random_(options.seed != 0 ? options.seed : std::random_device{}()) {}

    std::vector<Contender> measure(const std::function<std::filesystem::path()>& image) {
        start_sentinels();
        start_guest(image);
        for (unsigned i = 0; i < options_.repeats; ++i) {
            stage_.timeline().say("bench", fmt::format("repetition {} of {}", i + 1, options_.repeats));
            for (Entrant& entrant : entrants_) {
                attempt(entrant, [&] { measure_load(entrant); });
            }
        }
        for (Entrant& entrant : entrants_) {
            attempt(entrant, [&] { kill_again_and_again(entrant); });
        }
        std::vector<Contender> contenders;
        std::ranges::transform(entrants_, std::back_inserter(contenders), &Entrant::figures);
        return contenders;
    }

  private:
    struct Entrant {
        Contender figures;
        Store* store = nullptr;
        WriteTarget target{};
        bool serves_when_redundant = false;  // only then
    };

    // What breaks one off leaves the others to be measured.
    void attempt(Entrant& entrant, const std::function<void()>& measure) {
        if (!entrant.figures.missing.empty()) {
            return;
        }
        try {
            measure();
        } catch (const Error& error) {
            stage_.pause(1ms);  // throws what ends them all: the user's interrupt
            entrant.figures.missing = error.what();
            stage_.timeline().say("bench", fmt::format("{}: {}", entrant.figures.name, error.what()));
        }
    }

    void start_sentinels() {
        std::string missing = sentinel_store_missing();
        if (missing.empty()) {
            try {
                sentinels_ = std::make_unique<SentinelStore>(stage_, std::chrono::milliseconds(options_.down_after_ms));
            } catch (const Error& error) {
                missing = error.what();
            }
        }
        WriteTarget target;
        if (sentinels_) {
            target.sentinels = sentinels_->sentinels();
        }
        entrants_.push_back({.figures = {.name = "Sentinel", .missing = missing, .detail = "asynchronous replica"},
                             .store = sentinels_.get(),
                             .target = target});
        target.replicas = 1;
        entrants_.push_back({.figures = {.name = "Sentinel, WAIT 1",
                                         .missing = missing,
                                         .detail = "none is acknowledged until the killed server is a replica again"},
                             .store = sentinels_.get(),
                             .target = target,
                             .serves_when_redundant = true});
    }

    void start_guest(const std::function<std::filesystem::path()>& image) {
        std::string missing;
        try {
            guest_ =
                std::make_unique<ProtectedStore>(stage_, image(), std::chrono::milliseconds(options_.down_after_ms));
        } catch (const Error& error) {
            missing = error.what();
        }
        entrants_.push_back({.figures = {.name = "protected guest", .missing = missing, .promises = true},
                             .store = guest_.get(),
                             .target = {.server = ProtectedStore::server()}});
    }

    [[nodiscard]] std::unique_ptr<WriteLoad> start_load(const Entrant& entrant) {
        auto load = std::make_unique<WriteLoad>(entrant.target, fmt::format("load{}", ++loads_), options_.connections);
        await_service(*load, WriteLoad::Clock::now());
        return load;
    }

    void await_service(const WriteLoad& load, WriteLoad::Clock::time_point since) {
        try {
            stage_.until([&] { return load.all_served_since(since); }, kServeTime, "every client's write");
        } catch (const Error& error) {
            throw Error::format("{} ({})", error.what(), load.last_trouble());
        }
    }

    void measure_load(Entrant& entrant) {
        const auto load = start_load(entrant);
        stage_.pause(kWarmUp);
        static_cast<void>(load->take());
        stage_.pause(std::chrono::seconds(options_.seconds));
        const WriteFigures figures = load->take();
        entrant.figures.rates.push_back(figures.rate());
        entrant.figures.p50_us.push_back(microseconds(figures.latency.quantile(0.5)));
        entrant.figures.p99_us.push_back(microseconds(figures.latency.quantile(0.99)));
        stage_.timeline().say(
            "bench", fmt::format("{}: {:.0f}/s, p50 {:.0f} us, p99 {:.0f} us", entrant.figures.name, figures.rate(),
                                 entrant.figures.p50_us.back(), entrant.figures.p99_us.back()));
    }

    void kill_again_and_again(Entrant& entrant) {
        if (options_.kills == 0) {
            return;
        }
        const auto load = start_load(entrant);
        for (unsigned i = 0; i < options_.kills; ++i) {
            entrant.store->await_redundancy();
            static_cast<void>(load->take());
            const Outage outage = kill_once(entrant, *load);
            const WriteFigures figures = load->take();
            entrant.figures.add_death(outage, figures);
            stage_.timeline().say(
                "bench", fmt::format("{}, killed {} of {}: {:.1f} ms without a write; {} of {} lost, {} connections "
                                     "dropped",
                                     entrant.figures.name, i + 1, options_.kills, entrant.figures.gaps_ms.back(),
                                     figures.lost, figures.acknowledged, figures.dropped));
        }
    }

    // What was killed begins anew once all are served, so that it is not part of the gap; where nobody is served
    // without it, at once.
    Outage kill_once(const Entrant& entrant, WriteLoad& load) {
        Store& store = *entrant.store;
        stage_.pause(std::chrono::milliseconds(std::uniform_int_distribution<int>(200, 700)(random_)));
        load.mark();
        store.kill();
        store.await_takeover();
        const auto taken_over = WriteLoad::Clock::now();
        if (entrant.serves_when_redundant) {
            store.restart();
        }
        await_service(load, taken_over);
        const Outage outage = load.outage();
        if (!entrant.serves_when_redundant) {
            store.restart();
        }
        store.await_redundancy();
        load.begin_check();
        stage_.until([&] { return load.has_checked(); }, kCheckTime, "what was written to be read back");
        return outage;
    }

    Stage& stage_;
    const AgainstBenchOptions& options_;
    std::mt19937_64 random_;
    std::unique_ptr<SentinelStore> sentinels_;
    std::unique_ptr<ProtectedStore> guest_;
    std::vector<Entrant> entrants_;
    unsigned loads_ = 0;
};

report::Row plain_row(std::string what, std::uint64_t value, bool is_promised) {
    report::Row row{.what = std::move(what), .measured = {"", {static_cast<double>(value)}}};
    if (is_promised) {
        row.target = report::at_most(0);
    }
    return row;
}

void add_load_rows(std::vector<report::Row>& rows, const Contender& one, const Contender& guarded,
                   std::size_t connections) {
    const auto compare = [&](const std::string& what, const char* unit, const std::vector<double>& measured,
                             const std::vector<double>& baseline) {
        const std::string name = fmt::format("SET, {} connections{}, beside {}", connections, what, one.name);
        const std::string& missing = baseline.empty() ? one.missing : guarded.missing;
        if (measured.empty() || baseline.empty()) {
            rows.push_back(report::missing_row(name, missing));
            return;
        }
        rows.push_back({.what = name,
                        .unit = unit,
                        .measured = {guarded.name, measured},
                        .baseline = report::Samples{one.name, baseline}});
    };
    compare("", "writes/s", guarded.rates, one.rates);
    compare(", p50", "us", guarded.p50_us, one.p50_us);
    compare(", p99", "us", guarded.p99_us, one.p99_us);
}

void add_death_rows(std::vector<report::Row>& rows, const Contender& one) {
    const std::string name = one.name + ", killed";
    if (!one.gaps_ms.empty()) {
        const auto add = [&](const std::string& what, report::Statistic counts, const std::vector<double>& values) {
            rows.push_back(
                {.what = fmt::format("{}: {}", name, what), .unit = "ms", .measured = {"", values}, .counts = counts});
        };
        add("no client had a write acknowledged", report::Statistic::median, one.gaps_ms);
        rows.back().detail = one.detail;
        add("the same, 99th percentile", report::Statistic::p99, one.gaps_ms);
        add("the longest that one client waited", report::Statistic::median, one.waits_ms);
        const WriteFigures& all = one.deaths;
        rows.push_back(plain_row(name + ": acknowledged writes", all.acknowledged, false));
        rows.push_back(plain_row(name + ": acknowledged writes lost", all.lost, one.promises));
        rows.back().detail = all.finding;
        rows.push_back(plain_row(name + ": connections dropped", all.dropped, one.promises));
        rows.push_back(plain_row(name + ": writes refused or unanswered",
                                 all.refused + all.unconfirmed + all.unanswered, one.promises));
        rows.back().detail = fmt::format("{} refused, {} without a replica in time, {} without an answer", all.refused,
                                         all.unconfirmed, all.unanswered);
        rows.push_back(plain_row(name + ": keys that hold what was never written", all.contradictions, true));
    }
    if (!one.missing.empty()) {
        rows.push_back(report::missing_row(one.gaps_ms.empty() ? name : name + ": from here on", one.missing));
    }
}

report::CurvePlot gaps_plot(const std::vector<Contender>& contenders) {
    report::CurvePlot plot{.title = "No client had a write acknowledged, sorted",
                           .x_label = "of the deaths",
                           .y_label = "ms",
                           .y_scale = report::Scale::log,
                           .curves = {}};
    for (const Contender& one : contenders) {
        auto gaps = one.gaps_ms;
        std::ranges::sort(gaps);
        report::CurvePlot::Curve curve{one.name, {}};
        for (std::size_t i = 0; i < gaps.size(); ++i) {
            curve.points.push_back({(static_cast<double>(i) + 0.5) / static_cast<double>(gaps.size()), gaps[i]});
        }
        if (!gaps.empty()) {
            plot.curves.push_back(std::move(curve));
        }
    }
    return plot;
}

report::Section empty_section(const AgainstBenchOptions& options) {
    report::Section section;
    section.name = "against";
    section.title = "Against what people use";
    section.text = fmt::format(
        "Debian's redis-server with one replica and three Sentinels, asynchronous and with WAIT 1 behind each write, "
        "and "
        "the same redis-server in a protected guest; nothing is on disk. All are stations of one LAN in network "
        "namespaces (the guest by its tap; its two replicas speak with each other on loopback). {} clients SET keys of "
        "their own, each again when it is answered; a server that is silent for 3 s, or ends a connection, is looked "
        "for "
        "again: at a Sentinel, or where the guest was. Then the process that serves dies by SIGKILL, {} times; all "
        "that "
        "was acknowledged is read back each time, before the next. Silence is taken for death after {} ms by all of "
        "them; Redis' own default is 30 s, and that of a failover that is tried again 6 minutes, here 20 s. A server "
        "that was killed comes back as a replica as soon as there is another master. PostgreSQL with and without a "
        "synchronous standby, all on one disk: pgbench's simple update. It has no failover of its own, so none is "
        "measured.",
        options.connections, options.kills, options.down_after_ms);
    section.command =
        fmt::format("understudy bench against --repeats {} --seconds {} --connections {} --kills {} --down-after {}",
                    options.repeats, options.seconds, options.connections, options.kills, options.down_after_ms);
    return section;
}

}  // namespace

void Contender::add_death(const Outage& outage, const WriteFigures& figures) {
    gaps_ms.push_back(microseconds(outage.gap) / 1e3);
    waits_ms.push_back(microseconds(outage.wait) / 1e3);
    deaths.acknowledged += figures.acknowledged;
    deaths.refused += figures.refused;
    deaths.unconfirmed += figures.unconfirmed;
    deaths.unanswered += figures.unanswered;
    deaths.dropped += figures.dropped;
    deaths.lost += figures.lost;
    deaths.contradictions += figures.contradictions;
    if (deaths.finding.empty()) {
        deaths.finding = figures.finding;
    }
}

std::vector<report::Row> against_rows(const std::vector<Contender>& contenders, std::size_t connections) {
    std::vector<report::Row> rows;
    for (const Contender& one : contenders) {
        if (&one != &contenders.back()) {
            add_load_rows(rows, one, contenders.back(), connections);
        }
    }
    for (const Contender& one : contenders) {
        add_death_rows(rows, one);
    }
    return rows;
}

report::Section measure_against(const AgainstBenchOptions& options) {
    report::Section section = empty_section(options);
    if (const std::string missing = Lan::missing(); !missing.empty()) {
        section.rows.push_back(report::missing_row("against", missing));
        return section;
    }
    // An image is built while the host's network is there; without one, the others are measured all the same.
    std::unique_ptr<BenchImage> image;
    std::string no_image;
    try {
        image = std::make_unique<BenchImage>(options.image, std::vector<std::string>{"redis-server"});
    } catch (const Error& error) {
        no_image = error.what();
    }
    const Lan lan;  // before anything is started
    {
        Stage stage(stderr);
        const auto contenders =
            AgainstBench(stage, options).measure([&] { return image ? image->file() : throw Error(no_image); });
        section.rows = against_rows(contenders, options.connections);
        section.plots.emplace_back(gaps_plot(contenders));
    }
    const auto postgres = measure_postgres_replication(options);
    section.rows.insert(section.rows.end(), postgres.begin(), postgres.end());
    return section;
}

}  // namespace understudy::tools
