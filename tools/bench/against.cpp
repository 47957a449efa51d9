#include "tools/bench/against.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "common/error.hpp"
#include "tools/bench/against_postgres.hpp"
#include "tools/bench/against_rows.hpp"
#include "tools/bench/linux_image.hpp"
#include "tools/bench/protected_store.hpp"
#include "tools/bench/rows.hpp"
#include "tools/bench/sentinel_store.hpp"
#include "tools/demo/lan.hpp"
#include "tools/demo/stage.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr const char* kRedis = "redis";
constexpr const char* kPostgres = "postgres";

constexpr auto kWarmUp = 500ms;
constexpr auto kServeTime = 120s;  // until every client has its answer again
constexpr auto kCheckTime = 60s;

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
        std::string missing = redis_server_missing();
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
        constexpr unsigned kAttempts = 3;
        Store& store = *entrant.store;
        for (unsigned i = 0; i < kAttempts; ++i) {
            store.await_redundancy();
            const unsigned failovers = store.unplanned_failovers();
            const WriteFigures figures = measure_once(entrant);
            store.await_redundancy();
            if (store.unplanned_failovers() == failovers) {
                entrant.figures.add_load(figures);
                stage_.timeline().say(
                    "bench", fmt::format("{}: {:.0f}/s, p50 {:.0f} us, p99 {:.0f} us", entrant.figures.name,
                                         figures.rate(), entrant.figures.p50_us.back(), entrant.figures.p99_us.back()));
                return;
            }
            stage_.timeline().say("bench",
                                  fmt::format("{}: a failover without a fault; measured again", entrant.figures.name));
        }
        throw Error("there was a failover without a fault each time: the machine is too busy for this --down-after");
    }

    WriteFigures measure_once(const Entrant& entrant) {
        const auto load = start_load(entrant);
        stage_.pause(kWarmUp);
        static_cast<void>(load->take());
        stage_.pause(std::chrono::seconds(options_.seconds));
        return load->take();
    }

    void kill_again_and_again(Entrant& entrant) {
        if (options_.kills == 0) {
            return;
        }
        const auto load = start_load(entrant);
        const unsigned failovers = entrant.store->unplanned_failovers();
        for (unsigned i = 0; i < options_.kills; ++i) {
            entrant.store->await_redundancy();
            static_cast<void>(load->take());
            const Outage outage = kill_once(entrant, *load);
            const WriteFigures figures = load->take();
            entrant.figures.add_death(outage, figures);
            entrant.figures.unplanned = entrant.store->unplanned_failovers() - failovers;
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

void measure_redis(const AgainstBenchOptions& options, const std::function<std::filesystem::path()>& image,
                   report::Section& section) {
    Stage stage(stderr);
    const auto contenders = AgainstBench(stage, options).measure(image);
    section.rows = against_rows(contenders, options.connections);
    section.plots.emplace_back(bars_of(section.rows, "Redis", "writes/s", contenders.back().name));
    section.plots.emplace_back(gaps_plot(contenders));
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
        "them. Redis' own default is 30 s; below 2 s Sentinels were seen to take a master for gone that they had just "
        "made one. A failover that finds no majority "
        "is tried again after 20 s, by default 6 minutes. A server that was killed comes back as a replica once all "
        "Sentinels know another master. PostgreSQL with and without a synchronous standby, all on one disk: pgbench's "
        "simple update. It has no failover of its own, so none is measured.",
        options.connections, options.kills, options.down_after_ms);
    section.command =
        fmt::format("understudy bench against --repeats {} --seconds {} --connections {} --kills {} --down-after {}{}",
                    options.repeats, options.seconds, options.connections, options.kills, options.down_after_ms,
                    only_words(options.only));
    return section;
}

}  // namespace

const std::vector<std::string>& against_bench_parts() {
    static const std::vector<std::string> names = {kRedis, kPostgres};
    return names;
}

report::Section measure_against(const AgainstBenchOptions& options) {
    report::Section section = empty_section(options);
    if (const std::string missing = Lan::missing(); !missing.empty()) {
        section.rows.push_back(report::missing_row("against", missing));
        return section;
    }
    const auto wants = [&](std::string_view part) {
        return options.only.empty() || std::ranges::find(options.only, part) != options.only.end();
    };
    // An image is built while the host's network is there; without one, the others are measured all the same.
    std::unique_ptr<BenchImage> image;
    std::string no_image;
    if (wants(kRedis)) {
        try {
            image = std::make_unique<BenchImage>(options.image, std::vector<std::string>{"redis-server"});
        } catch (const Error& error) {
            no_image = error.what();
        }
    }
    const Lan lan;  // before anything is started
    if (wants(kRedis)) {
        measure_redis(
            options, [&] { return image ? image->file() : throw Error(no_image); }, section);
    }
    if (wants(kPostgres)) {
        const auto rows = measure_postgres_replication(options);
        section.rows.insert(section.rows.end(), rows.begin(), rows.end());
        section.plots.emplace_back(
            bars_of(section.rows, "PostgreSQL with a synchronous standby", "transactions/s", "replicated"));
    }
    return section;
}

}  // namespace understudy::tools
