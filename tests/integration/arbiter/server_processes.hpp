// Clusters of real servers for the arbiter's integration tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tools/process/process.hpp"

namespace understudy::arbiter::testing {

[[nodiscard]] std::string understudy();

// `understudy arbiter serve` processes with ids 1 …, on loopback unless `hosts` says otherwise.
class ServerProcesses {
  public:
    struct Place {
        std::string address;              // host:port
        std::vector<std::string> prefix;  // words before the command, for a network namespace
        std::filesystem::path data;
        std::vector<std::string> more;  // further options
    };
    ServerProcesses(std::map<std::uint64_t, Place> places, std::filesystem::path logs, std::string tls);
    static ServerProcesses on_loopback(const std::filesystem::path& directory, std::size_t count);

    void start(std::uint64_t id);
    void start_joining(std::uint64_t id, Place place);
    void start_all();
    // From now on servers are started as by the command of a later start, whatever their directories hold.
    void all_have_begun() { bootstrapping_ = false; }
    void begin_anew() { bootstrapping_ = true; }
    void kill(std::uint64_t id);  // SIGKILL
    void signal(std::uint64_t id, int number);
    int wait(std::uint64_t id);
    [[nodiscard]] bool runs(std::uint64_t id) const { return processes_.contains(id); }
    [[nodiscard]] std::string log(std::uint64_t id) const;
    [[nodiscard]] std::string url() const;
    // The leader, once there is one; 0 after 20 seconds without.
    [[nodiscard]] std::uint64_t leader() const;
    [[nodiscard]] const std::map<std::uint64_t, Place>& places() const { return places_; }

  private:
    void launch(std::uint64_t id, bool join);

    bool bootstrapping_ = true;
    std::map<std::uint64_t, Place> places_;
    std::vector<std::string> initial_;
    std::filesystem::path logs_;
    std::string tls_;
    std::map<std::uint64_t, std::unique_ptr<tools::Process>> processes_;
};

}  // namespace understudy::arbiter::testing
