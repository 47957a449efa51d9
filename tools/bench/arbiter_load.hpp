// What `understudy bench arbiter` asks of the clusters. Every client decides one generation after the other of a VM of
// its own, so that every operation is a decision that must be durable: form, test_and_set, form, test_and_set, …
//
// Each of these runs an io_context of its own on the caller's thread. They throw understudy::Error when the cluster
// does not do what it must.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/bench/arbiter_clusters.hpp"

namespace understudy::tools {

void wait_until_serving(const std::string& url);

struct LoadFigures {
    double seconds = 0;
    std::size_t decisions = 0;
    std::size_t failures = 0;
    std::vector<double> test_and_set;  // latencies in microseconds

    [[nodiscard]] double rate() const { return static_cast<double>(decisions) / seconds; }
};

[[nodiscard]] LoadFigures run_load(const std::string& url, std::size_t clients, std::chrono::seconds duration);

// Kills the leader, again and again. For each time, the milliseconds from SIGKILL to the answer to the first question
// that was asked after it.
[[nodiscard]] std::vector<double> run_kills(BenchedArbiter& cluster, std::size_t kills);

struct BulkFigures {
    std::size_t vms = 0;
    double register_seconds = 0;
    std::uint64_t resident_kib = 0;
    std::uint64_t snapshot_bytes = 0;
    double snapshot_ms = 0;
    double restart_ms = 0;    // until the server answers
    double caught_up_ms = 0;  // until it has applied what the others have
};

// Registers many VMs; then a snapshot and a restart of a server that does not lead.
[[nodiscard]] BulkFigures run_bulk(BenchedArbiter& cluster, std::size_t vms);

}  // namespace understudy::tools
