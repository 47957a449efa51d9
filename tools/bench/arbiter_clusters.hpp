// The clusters that `understudy bench arbiter` compares: three servers each, as processes on ports of this machine,
// with their data and their logs below one directory. They end with the object, or with this process. One thread.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arbiter/wire/protocol.hpp"
#include "tools/process/process.hpp"

namespace understudy::tools {

constexpr std::size_t kBenchedServers = 3;
// For an answer that ought to come in milliseconds.
constexpr std::chrono::milliseconds kBenchPatience{10'000};

// Ours.
class BenchedArbiter {
  public:
    explicit BenchedArbiter(std::filesystem::path directory);

    void start(std::size_t i);
    void kill(std::size_t i) { servers_[i]->kill(); }  // SIGKILL
    [[nodiscard]] std::uint64_t resident_kib(std::size_t i) const;
    [[nodiscard]] std::string url() const;
    // nullopt: it does not answer.
    [[nodiscard]] std::optional<arbiter::StatusReply> status(std::size_t i) const;
    // The leader once every member follows it without lag. Throws understudy::Error when that does not come about.
    [[nodiscard]] std::size_t settled_leader() const;

  private:
    std::filesystem::path directory_;
    std::vector<std::uint16_t> ports_;
    std::array<std::unique_ptr<Process>, kBenchedServers> servers_;
};

class BenchedEtcd {
  public:
    explicit BenchedEtcd(std::filesystem::path directory);

    void start(std::size_t i);
    void kill(std::size_t i) { servers_[i]->kill(); }  // SIGKILL
    [[nodiscard]] std::string url() const;

  private:
    std::filesystem::path directory_;
    std::vector<std::uint16_t> ports_;  // for clients, then for each other
    std::array<std::unique_ptr<Process>, kBenchedServers> servers_;
};

}  // namespace understudy::tools
