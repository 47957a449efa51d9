#include "tools/bench/postgres_servers.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include "common/error.hpp"
#include "tools/bench/lines_of.hpp"
#include "tools/bench/postgres_link.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Words = std::vector<std::string>;

constexpr std::uint16_t kPort = 5432;
constexpr auto kPatience = 2min;
constexpr auto kAnswerTime = 10s;
constexpr auto kLook = 100ms;

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

// It ends with this process, which changing the user would make the kernel forget.
Words as_user(const PostgresServer& server, const Words& command) {
    return server.station.command + Words{"setpriv",
                                          "--reuid",
                                          PostgresServers::kUser,
                                          "--regid",
                                          PostgresServers::kUser,
                                          "--init-groups",
                                          "--pdeathsig",
                                          "KILL",
                                          "--"} +
           command;
}

std::vector<pid_t> children_of(pid_t process) {
    std::ifstream list(fmt::format("/proc/{0}/task/{0}/children", process));
    std::vector<pid_t> children;
    for (pid_t child = 0; list >> child;) {
        children.push_back(child);
    }
    return children;
}

}  // namespace

std::string PostgresServers::missing() {
    return find_programs().empty() ? "needs PostgreSQL on this host: apt-get install postgresql" : "";
}

PostgresServers::PostgresServers(Stage& stage, std::size_t connections)
    : stage_(stage), connections_(connections), programs_(find_programs()), directory_(make_directory()) {}

PostgresServers::~PostgresServers() {
    for (const auto& process : started_) {
        stage_.dismiss(process);
    }
}

// For the user whom the servers run as.
fs::path PostgresServers::make_directory() const {
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

PostgresServer PostgresServers::add(const std::string& name, const std::string& host) {
    return {.name = name,
            .address = {host, kPort},
            .data = directory_ / name,
            .station = Lan::add_station(stage_, name, host)};
}

void PostgresServers::run_as_user(const PostgresServer& server, const Words& command) {
    static_cast<void>(lines_of(stage_, as_user(server, command), kPatience));
}

void PostgresServers::make_cluster(const PostgresServer& server) {
    run_as_user(server, {program("initdb"), "--no-sync", "-A", "trust", "-D", server.data.string()});
    run_as_user(server, {"sh", "-c",
                         "echo 'host all all all trust' >> \"$0/pg_hba.conf\"; "
                         "echo 'host replication all all trust' >> \"$0/pg_hba.conf\"",
                         server.data.string()});
}

void PostgresServers::copy(const PostgresServer& from, const PostgresServer& to, Copy kind) {
    fs::remove_all(to.data);
    run_as_user(to, Words{program("pg_basebackup"), "-h", from.address.host, "-U", kUser, "-D", to.data.string(), "-X",
                          "stream", "-c", "fast", "--no-sync"} +
                        (kind == Copy::standby ? Words{"-R"} : Words{}));
}

void PostgresServers::start(PostgresServer& server) {
    server.process = stage_.start(
        server.name,
        as_user(server, {program("postgres"), "-D", server.data.string(), "-c", "unix_socket_directories=", "-c",
                         "listen_addresses=*", "-c", fmt::format("max_connections={}", connections_ + 20)}),
        [](std::string_view) {});
    stage_.expect(server.name, server.process);
    started_.push_back(server.process);
    await([&] { return answers(server, "select 1", "1", kAnswerTime); }, server.name + " to serve");
}

// Those that serve clients are the first one's children, and would notice its end and say so. Stopped, it begins none.
void PostgresServers::kill(PostgresServer& server) {
    stage_.dismiss(server.process);
    std::erase(started_, server.process);
    server.process->signal(SIGSTOP);
    for (const pid_t child : children_of(server.process->pid())) {
        ::kill(child, SIGKILL);
    }
    server.process->signal(SIGKILL);
    server.process.reset();
}

// A standby that is not there yet would have every commit wait until it is, hence not before it follows.
void PostgresServers::make_synchronous(const PostgresServer& primary) {
    const auto follows = [&] {
        return answers(primary, "select count(*) from pg_stat_replication where state = 'streaming'", "1", kAnswerTime);
    };
    await(follows, "a standby of " + primary.name + " to follow it");
    for (const char* statement : {"alter system set synchronous_standby_names = '*'", "select pg_reload_conf()"}) {
        ask(primary, statement, kAnswerTime);
    }
    await_synchronous(primary);
}

void PostgresServers::await_synchronous(const PostgresServer& primary) {
    const auto has_all = [&] {
        return answers(primary,
                       "select count(*) from pg_stat_replication where sync_state = 'sync' and state = 'streaming'",
                       "1", kAnswerTime);
    };
    await(has_all, "the standby of " + primary.name + " to be synchronous");
}

void PostgresServers::await(const std::function<bool()>& condition, const std::string& what) {
    const auto deadline = Stage::Clock::now() + kPatience;
    while (!condition()) {
        if (Stage::Clock::now() >= deadline) {
            throw Error::format("waited {} s for {}", std::chrono::seconds(kPatience).count(), what);
        }
        stage_.pause(kLook);  // throws what ends the benchmark: the user's interrupt, a server that is gone
    }
}

std::string PostgresServers::ask(const PostgresServer& server, const std::string& query,
                                 std::chrono::milliseconds patience) {
    const auto rows = PostgresLink(server.address, patience).ask(query);
    return rows.empty() ? std::string() : rows.front().value_or("");
}

bool PostgresServers::answers(const PostgresServer& server, const std::string& query, std::string_view expected,
                              std::chrono::milliseconds patience) {
    try {
        return ask(server, query, patience) == expected;
    } catch (const Error&) {
        return false;
    }
}

}  // namespace understudy::tools
