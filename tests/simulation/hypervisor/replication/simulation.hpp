// A VM's whole life in one process and virtual time: replicas, the logging channel between them, the arbiter, the
// network that hears what they say, and everything that can go wrong between these, all drawn from one seed.
//
// The replicas' core (hypervisor/replication/replica_core.hpp) is the real one, with all that it consists of;
// replica.cpp stands in for its driver. The guest is abstract: its state is a hash of all its inputs, and what it says
// at a stop depends on that state.
//
//   guest.hpp     the guest
//   replica.*     a replica's process: its vCPU, its end of the channel
//   world.*       time, chance, connections, the arbiter, the network that listens, and what must hold
//   faults.cpp    what goes wrong
//
// What is checked, at every step:
//   - What the network hears belongs to one history: whoever releases an output has lived everything that was released
//     before, by whomever. (So two replicas never speak for diverging futures, and no survivor contradicts the dead.)
//   - A replica releases its outputs in order; no two replicas announce the same rank; no two replicas have open gates.
// and at the end, when nothing fails any more:
//   - Every output of the history was heard.
//   - A pair leads and follows, and the guest goes on; unless the schedule killed a replica that was the only one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace understudy::replication::simulation {

struct Result {
    std::string violation;  // empty: none
    // What happened, to see that the schedules reach what they should.
    std::uint64_t generations = 0;
    std::uint64_t kills = 0;
    std::uint64_t takeovers = 0;        // by a backup
    std::uint64_t survivals = 0;        // a primary that won after losing its backup
    std::uint64_t depositions = 0;      // losers of a test-and-set
    std::uint64_t unknowns = 0;         // answers of the arbiter that were lost
    std::uint64_t undecided_forms = 0;  // backups lost while form was asked
    std::uint64_t outputs = 0;
    bool lost = false;               // the schedule killed the only replica
    std::vector<std::string> story;  // when asked for
};

[[nodiscard]] Result simulate(std::uint64_t seed, bool tell = false);

}  // namespace understudy::replication::simulation
