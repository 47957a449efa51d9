#include "tools/bench/against_postgres.hpp"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "tools/bench/lines_of.hpp"
#include "tools/bench/rows.hpp"
#include "tools/demo/lan.hpp"
#include "tools/demo/stage.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Words = std::vector<std::string>;

constexpr const char* kUser = "postgres";  // the server runs as nobody who may do everything
constexpr auto kPatience = 2min;
constexpr auto kLook = 100ms;
constexpr unsigned kShortest = 3;  // seconds, for all to have connected

// The newest that is installed; empty: none.
fs::path find_programs() {
    fs::path newest;
    int highest = 0;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
        const int version = std::atoi(entry.path().filename().c_str());
        if (version > highest && fs::exists(entry.path() / "bin" / "postgres")) {
            highest = version;
            newest = entry.path() / "bin";
        }
    }
    return newest;
}

Words operator+(Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

struct Mode {
    const char* name;
    const char* synchronous_commit;
    bool is_replicated;
    std::vector<double> rates{};
    std::vector<double> latencies_ms{};
};

class PostgresBench {
  public:
    PostgresBench(Stage& stage, const AgainstBenchOptions& options, fs::path programs)
        : stage_(stage), options_(options), programs_(std::move(programs)), directory_(make_directory()) {}

    // The one with a standby is copied to be the standby, and to be the one without.
    std::vector<report::Row> measure() {
        primary_ = add("pg-primary", "10.79.0.31");
        standby_ = add("pg-standby", "10.79.0.32");
        alone_ = add("pg-alone", "10.79.0.33");
        make_cluster(primary_);
        start(primary_);
        static_cast<void>(pgbench(primary_, "off", {"-i", "-q", "-s", "5"}));
        copy(standby_, {"-R"});
        copy(alone_, {});
        start(standby_);
        start(alone_);
        make_synchronous();
        for (unsigned i = 0; i < options_.repeats; ++i) {
            for (Mode& mode : modes_) {
                measure(mode);
            }
        }
        return rows();
    }

  private:
    struct Server {
        std::string name{};
        std::string address{};
        fs::path data{};
        Lan::Station station{};
        std::shared_ptr<Child> process{};
    };

    // For the user whom the servers run as.
    [[nodiscard]] fs::path make_directory() const {
        const passwd* user = ::getpwnam(kUser);
        if (user == nullptr) {
            throw Error::format("there is no user {}: apt-get install --reinstall postgresql-common", kUser);
        }
        const fs::path& stage = stage_.directory().path();
        fs::permissions(stage, fs::perms::group_exec | fs::perms::others_exec, fs::perm_options::add);
        fs::path directory = stage / "postgres";
        fs::create_directory(directory);
        if (::chown(directory.c_str(), user->pw_uid, user->pw_gid) != 0) {
            throw Error::from_errno("a directory for " + std::string(kUser), errno);
        }
        return directory;
    }

    Server add(const std::string& name, const std::string& address) {
        return {.name = name,
                .address = address,
                .data = directory_ / name,
                .station = Lan::add_station(stage_, name, address)};
    }

    // It ends with this process, which changing the user would make the kernel forget.
    [[nodiscard]] static Words as_user(const Server& server, const Words& command) {
        return server.station.command +
               Words{"setpriv", "--reuid", kUser, "--regid", kUser, "--init-groups", "--pdeathsig", "KILL", "--"} +
               command;
    }
    void run_as_user(const Server& server, const Words& command) {
        static_cast<void>(lines_of(stage_, as_user(server, command), kPatience));
    }

    void make_cluster(const Server& server) {
        run_as_user(server, {(programs_ / "initdb").string(), "--no-sync", "-A", "trust", "-D", server.data.string()});
        run_as_user(server, {"sh", "-c",
                             "echo 'host all all all trust' >> \"$0/pg_hba.conf\"; "
                             "echo 'host replication all all trust' >> \"$0/pg_hba.conf\"",
                             server.data.string()});
    }

    void copy(const Server& server, const Words& more) {
        run_as_user(server, Words{(programs_ / "pg_basebackup").string(), "-h", primary_.address, "-U", kUser, "-D",
                                  server.data.string(), "-X", "stream", "-c", "fast", "--no-sync"} +
                                more);
    }

    void start(Server& server) {
        server.process =
            stage_.start(server.name,
                         as_user(server, {(programs_ / "postgres").string(), "-D", server.data.string(), "-c",
                                          "unix_socket_directories=", "-c", "listen_addresses=*", "-c",
                                          fmt::format("max_connections={}", options_.connections + 20)}),
                         [](std::string_view) {});
        stage_.expect(server.name, server.process);
        await([&] { return answers(server, "select 1", "1"); }, server.name + " to serve");
    }

    void await(const std::function<bool()>& condition, const std::string& what) {
        const auto deadline = Stage::Clock::now() + kPatience;
        while (!condition()) {
            if (Stage::Clock::now() >= deadline) {
                throw Error::format("waited {} s for {}", std::chrono::seconds(kPatience).count(), what);
            }
            stage_.pause(kLook);
        }
    }

    [[nodiscard]] static Words psql(const Server& server, const char* query) {
        return {"psql", "-h", server.address, "-U", kUser, "-tAc", query, "postgres"};
    }

    bool answers(const Server& server, const char* query, std::string_view expected) {
        try {
            const auto lines = lines_of(stage_, psql(server, query), kPatience);
            return !lines.empty() && lines.front() == expected;
        } catch (const Error&) {
            stage_.pause(1ms);  // throws what ends the benchmark: the user's interrupt, a server that is gone
            return false;
        }
    }

    void make_synchronous() {
        for (const char* statement : {"alter system set synchronous_standby_names = '*'", "select pg_reload_conf()"}) {
            static_cast<void>(lines_of(stage_, psql(primary_, statement), kPatience));
        }
        await(
            [&] { return answers(primary_, "select count(*) from pg_stat_replication where sync_state='sync'", "1"); },
            "the standby to be synchronous");
    }

    std::vector<std::string> pgbench(const Server& server, const char* synchronous_commit, const Words& more) {
        return lines_of(stage_,
                        Words{"env", fmt::format("PGOPTIONS=-c synchronous_commit={}", synchronous_commit), "pgbench",
                              "-h", server.address, "-U", kUser} +
                            more + Words{"postgres"},
                        kPatience + std::chrono::seconds(options_.seconds));
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
    fs::path programs_;
    fs::path directory_;
    Server alone_;
    Server primary_;
    Server standby_;
    std::array<Mode, 3> modes_ = {Mode{"alone", "on", false}, Mode{"synchronous_commit=on", "on", true},
                                  Mode{"synchronous_commit=remote_apply", "remote_apply", true}};
};

}  // namespace

std::vector<report::Row> measure_postgres_replication(const AgainstBenchOptions& options) {
    const fs::path programs = find_programs();
    if (programs.empty()) {
        return {report::missing_row("PostgreSQL", "needs PostgreSQL on this host: apt-get install postgresql")};
    }
    Stage stage(stderr);
    try {
        return PostgresBench(stage, options, programs).measure();
    } catch (const Error& error) {
        return {report::missing_row("PostgreSQL", error.what())};
    }
}

}  // namespace understudy::tools
