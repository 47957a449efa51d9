// A whole arbiter cluster in one process and in virtual time, from one seed: servers (the product's ServerCore, on a
// simulated disk), clients that retry, a network that delays, reorders, repeats, loses and partitions, disks that are
// slow, full, or torn by a power failure, and an operator who changes the membership meanwhile.
//
//   memory_directory.*   the disk
//   cluster.*            time, chance, and the course of a schedule
//   servers.cpp          the servers, and the messages between them
//   clients.cpp          the clients
//   faults.cpp           what goes wrong, and the operator
//   invariants.cpp       what must hold
//   linearizability.*    what the clients' history must be
//
// After every step of a server the invariants of the paper's figure 3 are checked, at the end that the cluster recovers
// and that the clients' history is linearizable.
#pragma once

#include <cstdint>
#include <string>

namespace understudy::arbiter::simulation {

struct Verdict {
    std::string violation;  // empty: none
    std::uint64_t steps = 0;
    std::uint64_t operations = 0;  // that clients got an answer to
    std::uint64_t crashes = 0;
    std::uint64_t elections = 0;
    std::uint64_t snapshots_installed = 0;
    std::uint64_t membership_changes = 0;
};

// One schedule. Deterministic in `seed`. `trace`: a line for every event, on standard error.
[[nodiscard]] Verdict run_schedule(std::uint64_t seed, bool trace = false);

}  // namespace understudy::arbiter::simulation
