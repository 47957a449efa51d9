#include "tools/bench/against_postgres.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>

#include "common/error.hpp"
#include "tools/bench/lines_of.hpp"
#include "tools/bench/postgres_servers.hpp"
#include "tools/bench/postgres_store.hpp"
#include "tools/bench/postgres_writes.hpp"
#include "tools/bench/rows.hpp"
#include "tools/bench/store_trial.hpp"
#include "tools/demo/stage.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using Words = std::vector<std::string>;

constexpr auto kPatience = 2min;
constexpr unsigned kShortest = 3;  // seconds, for all to have connected

struct Mode {
    const char* name;
    const char* synchronous_commit;
    bool is_replicated;
    std::vector<double> rates{};
    std::vector<double> latencies_ms{};
};

class PostgresBench {
  public:
    PostgresBench(Stage& stage, const AgainstBenchOptions& options)
        : stage_(stage), options_(options), servers_(stage, options.connections) {}

    // The one with a standby is copied to be the standby, and to be the one without.
    std::vector<report::Row> measure() {
        primary_ = servers_.add("pg-primary", "10.79.0.31");
        standby_ = servers_.add("pg-standby", "10.79.0.32");
        alone_ = servers_.add("pg-alone", "10.79.0.33");
        servers_.make_cluster(primary_);
        servers_.start(primary_);
        static_cast<void>(pgbench(primary_, "off", {"-i", "-q", "-s", "5"}));
        servers_.copy(primary_, standby_, PostgresServers::Copy::standby);
        servers_.copy(primary_, alone_, PostgresServers::Copy::independent);
        servers_.start(standby_);
        servers_.start(alone_);
        servers_.make_synchronous(primary_);
        for (unsigned i = 0; i < options_.repeats; ++i) {
            for (Mode& mode : modes_) {
                measure(mode);
            }
        }
        return rows();
    }

  private:
    std::vector<std::string> pgbench(const PostgresServer& server, const char* synchronous_commit, const Words& more) {
        Words words = {"env",
                       fmt::format("PGOPTIONS=-c synchronous_commit={}", synchronous_commit),
                       "pgbench",
                       "-h",
                       server.address.host,
                       "-U",
                       PostgresServers::kUser};
        words.insert(words.end(), more.begin(), more.end());
        words.emplace_back("postgres");
        return lines_of(stage_, words, kPatience + std::chrono::seconds(options_.seconds));
    }

    void measure(Mode& mode) {
        const auto lines = pgbench(mode.is_replicated ? primary_ : alone_, mode.synchronous_commit,
                                   {"-n", "-N", "-c", std::to_string(options_.connections), "-j", "1", "-T",
                                    std::to_string(std::max(options_.seconds, kShortest))});
        mode.rates.push_back(figure_of(lines, "tps = ([0-9.]+)"));
        mode.latencies_ms.push_back(figure_of(lines, "latency average = ([0-9.]+)"));
    }

    std::vector<report::Row> rows() {
        Rows rows(stage_.timeline());
        const Mode& alone = modes_.front();
        for (const Mode& mode : modes_) {
            if (!mode.is_replicated) {
                continue;
            }
            const std::string what = fmt::format("PostgreSQL, {} connections, {}", options_.connections, mode.name);
            rows.add({.what = what,
                      .unit = "transactions/s",
                      .measured = {"replicated", mode.rates},
                      .baseline = report::Samples{alone.name, alone.rates}});
            rows.add({.what = what + ", latency",
                      .unit = "ms",
                      .measured = {"replicated", mode.latencies_ms},
                      .baseline = report::Samples{alone.name, alone.latencies_ms},
                      .detail = "pgbench's average"});
        }
        return rows.take();
    }

    Stage& stage_;
    const AgainstBenchOptions& options_;
    PostgresServers servers_;
    PostgresServer alone_;
    PostgresServer primary_;
    PostgresServer standby_;
    std::array<Mode, 3> modes_ = {Mode{"alone", "on", false}, Mode{"synchronous_commit=on", "on", true},
                                  Mode{"synchronous_commit=remote_apply", "remote_apply", true}};
};

}  // namespace

std::vector<report::Row> measure_postgres_replication(const AgainstBenchOptions& options) {
    if (const std::string missing = PostgresServers::missing(); !missing.empty()) {
        return {report::missing_row("PostgreSQL", missing)};
    }
    Stage stage(stderr);
    try {
        return PostgresBench(stage, options).measure();
    } catch (const Error& error) {
        stage.pause(1ms);  // throws what ends the benchmark: the user's interrupt
        return {report::missing_row("PostgreSQL", error.what())};
    }
}

Contender measure_postgres_failover(const AgainstBenchOptions& options) {
    Entrant entrant{.figures = {.name = "PostgreSQL",
                                .missing = PostgresServers::missing(),
                                .detail = "synchronous standby, promoted by the benchmark"}};
    if (!entrant.figures.missing.empty() || options.kills == 0) {
        return entrant.figures;
    }
    Stage stage(stderr);
    try {
        PostgresStore store(stage, options.connections, std::chrono::milliseconds(options.down_after_ms));
        entrant.store = &store;
        entrant.target = postgres_writes({.servers = store.addresses()});
        StoreTrial(stage, options).kill_again_and_again(entrant);
    } catch (const Error& error) {
        stage.pause(1ms);  // as above
        entrant.figures.missing = error.what();
    }
    return entrant.figures;
}

}  // namespace understudy::tools
