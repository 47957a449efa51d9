#include "tools/bench/against.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "common/error.hpp"
#include "tools/bench/against_postgres.hpp"
#include "tools/bench/against_rows.hpp"
#include "tools/bench/linux_image.hpp"
#include "tools/bench/protected_store.hpp"
#include "tools/bench/redis_link.hpp"
#include "tools/bench/redis_writes.hpp"
#include "tools/bench/rows.hpp"
#include "tools/bench/sentinel_store.hpp"
#include "tools/bench/store_trial.hpp"
#include "tools/demo/lan.hpp"
#include "tools/demo/stage.hpp"

namespace understudy::tools {
namespace {

constexpr const char* kRedis = "redis";
constexpr const char* kPostgres = "postgres";

class AgainstBench {
  public:
    AgainstBench(Stage& stage, const AgainstBenchOptions& options)
        : stage_(stage), options_(options), trial_(stage, options) {}

    std::vector<Contender> measure(const std::function<std::filesystem::path()>& image) {
        start_sentinels();
        start_guest(image);
        for (unsigned i = 0; i < options_.repeats; ++i) {
            stage_.timeline().say("bench", fmt::format("repetition {} of {}", i + 1, options_.repeats));
            for (Entrant& entrant : entrants_) {
                trial_.measure_load(entrant);
            }
        }
        for (Entrant& entrant : entrants_) {
            trial_.kill_again_and_again(entrant);
        }
        std::vector<Contender> contenders;
        std::ranges::transform(entrants_, std::back_inserter(contenders), &Entrant::figures);
        return contenders;
    }

  private:
    void start_sentinels() {
        std::string missing = redis_server_missing();
        if (missing.empty()) {
            try {
                sentinels_ = std::make_unique<SentinelStore>(stage_, std::chrono::milliseconds(options_.down_after_ms));
            } catch (const Error& error) {
                missing = error.what();
            }
        }
        RedisTarget target;
        if (sentinels_) {
            target.sentinels = sentinels_->sentinels();
        }
        entrants_.push_back({.figures = {.name = "Sentinel", .missing = missing, .detail = "asynchronous replica"},
                             .store = sentinels_.get(),
                             .target = redis_writes(target)});
        target.replicas = 1;
        entrants_.push_back({.figures = {.name = "Sentinel, WAIT 1",
                                         .missing = missing,
                                         .detail = "none is acknowledged until the killed server is a replica again"},
                             .store = sentinels_.get(),
                             .target = redis_writes(target),
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
                             .target = redis_writes({.server = ProtectedStore::server()})});
    }

    Stage& stage_;
    const AgainstBenchOptions& options_;
    StoreTrial trial_;
    std::unique_ptr<SentinelStore> sentinels_;
    std::unique_ptr<ProtectedStore> guest_;
    std::vector<Entrant> entrants_;
};

std::vector<Contender> measure_redis(const AgainstBenchOptions& options,
                                     const std::function<std::filesystem::path()>& image, report::Section& section) {
    Stage stage(stderr);
    auto contenders = AgainstBench(stage, options).measure(image);
    section.rows = against_rows(contenders, options.connections);
    section.plots.emplace_back(bars_of(section.rows, "Redis", "writes/s", contenders.back().name));
    return contenders;
}

Contender measure_postgres(const AgainstBenchOptions& options, report::Section& section) {
    const auto add = [&](const std::vector<report::Row>& rows) {
        section.rows.insert(section.rows.end(), rows.begin(), rows.end());
    };
    add(measure_postgres_replication(options));
    section.plots.emplace_back(
        bars_of(section.rows, "PostgreSQL with a synchronous standby", "transactions/s", "replicated"));
    Contender killed = measure_postgres_failover(options);
    add(against_rows({killed}, options.connections));
    return killed;
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
        "simple update. It brings nobody who would promote a standby: here the benchmark does, once the primary has "
        "given no answer for the same time to a look every 20 ms. That is as generous as can be: it asks nobody, and "
        "nothing keeps two from serving; a real manager (Patroni) takes longer. As many clients commit rows of their "
        "own with synchronous_commit=on, and look for the primary at both servers, every 100 ms. What was promoted "
        "commits without a standby until the killed server is back, from a new copy, as one; none is killed before.",
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
    std::vector<Contender> contenders;
    if (wants(kRedis)) {
        contenders = measure_redis(
            options, [&] { return image ? image->file() : throw Error(no_image); }, section);
    }
    if (wants(kPostgres)) {
        contenders.push_back(measure_postgres(options, section));
    }
    section.plots.emplace_back(gaps_plot(contenders));
    return section;
}

}  // namespace understudy::tools
