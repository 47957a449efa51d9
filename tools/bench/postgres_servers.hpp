// Debian's PostgreSQL on stations of the LAN, all of it on this host's disk, and flushed as by default. Every method
// runs in the thread of the stage, and throws understudy::Error when what it does does not come about.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/address.hpp"
#include "tools/demo/lan.hpp"
#include "tools/demo/stage.hpp"

namespace understudy::tools {

struct PostgresServer {
    std::string name{};
    Address address{};
    std::filesystem::path data{};
    Lan::Station station{};
    std::shared_ptr<Child> process{};  // none: it is not started yet, or killed
};

class PostgresServers {
  public:
    static constexpr const char* kUser = "postgres";  // the servers run as nobody who may do everything

    // Why this host runs none. Empty: it can.
    [[nodiscard]] static std::string missing();

    // There is a Lan. `connections`: of clients, to each. `stage` outlives the object.
    PostgresServers(Stage& stage, std::size_t connections);
    // The stage misses none of them any more.
    ~PostgresServers();
    PostgresServers(const PostgresServers&) = delete;
    PostgresServers& operator=(const PostgresServers&) = delete;

    [[nodiscard]] PostgresServer add(const std::string& name, const std::string& host);
    void make_cluster(const PostgresServer& server);
    // Of one that runs, in place of what was there.
    enum class Copy : std::uint8_t { standby, independent };
    void copy(const PostgresServer& from, const PostgresServer& to, Copy kind);

    // Returns when it answers. From then on the stage misses it when it ends.
    void start(PostgresServer& server);
    // SIGKILL to all of its processes.
    void kill(PostgresServer& server);
    // Commits of `primary` wait for its standby from now on. Returns when the standby has all that was committed.
    void make_synchronous(const PostgresServer& primary);
    void await_synchronous(const PostgresServer& primary);

    // What it answers to a query in one row. Throws understudy::Error: it does not within `patience`.
    static std::string ask(const PostgresServer& server, const std::string& query, std::chrono::milliseconds patience);
    // As it is expected to.
    static bool answers(const PostgresServer& server, const std::string& query, std::string_view expected,
                        std::chrono::milliseconds patience);

  private:
    [[nodiscard]] std::filesystem::path make_directory() const;
    [[nodiscard]] std::string program(const std::string& name) const { return (programs_ / name).string(); }
    void run_as_user(const PostgresServer& server, const std::vector<std::string>& command);
    void await(const std::function<bool()>& condition, const std::string& what);

    Stage& stage_;
    std::size_t connections_;
    std::filesystem::path programs_;
    std::filesystem::path directory_;
    std::vector<std::shared_ptr<Child>> started_;
};

}  // namespace understudy::tools
