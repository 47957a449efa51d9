// `understudy bench scale`: many protected VMs at once.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "arbiter/client/client.hpp"
#include "tools/report/report.hpp"

namespace understudy::tools {

struct ScaleBenchOptions {
    std::size_t pairs = 10'000;  // that fail over at once
    std::size_t hosts = 100;     // that they are spread over; each has one connection to the arbiter
    unsigned repeats = 3;
    std::vector<std::string> only{};                                 // of scale_bench_rows(); empty: all
    std::vector<std::string> memory = {"128M", "512M", "1G", "4G"};  // of guests that a backup joins, in turn
    std::vector<std::size_t> guests = {1, 2, 4};                     // pairs on this host, in turn
    std::filesystem::path image{};                                   // with redis-server; empty: is built
};

// What the arbiter said to the replicas of each pair: it has to be yes to exactly one of those that asked. Pure.
class PairDecisions {
  public:
    explicit PairDecisions(std::size_t pairs) : winners_(pairs) {}

    void note(std::size_t pair, arbiter::Verdict verdict);
    [[nodiscard]] std::size_t answers() const { return answers_; }
    [[nodiscard]] std::size_t unanswered() const { return unanswered_; }
    // Pairs with another number of winners than one.
    [[nodiscard]] std::size_t wrong() const;

  private:
    std::vector<std::size_t> winners_;  // of each pair
    std::size_t answers_ = 0;
    std::size_t unanswered_ = 0;
};

// Where the replicas of a pair run: two of the hosts, spread evenly.
struct PairHosts {
    std::size_t primary = 0;
    std::size_t backup = 0;
};
[[nodiscard]] PairHosts hosts_of(std::size_t pair, std::size_t hosts);

[[nodiscard]] const std::vector<std::string>& scale_bench_rows();

// Throws understudy::Error when the arbiter does not serve, or a guest.
[[nodiscard]] report::Section measure_scale(const ScaleBenchOptions& options);

}  // namespace understudy::tools
