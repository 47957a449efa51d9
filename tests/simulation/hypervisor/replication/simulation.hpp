// A VM's whole life in one process and virtual time: replicas, the logging channel between them, the arbiter, the
// network that hears what they say, and everything that can go wrong between these.
//
// The replicas' core (hypervisor/replication/decision/replica_core.hpp) is the real one, with all that it consists of,
// and so is what the arbiter decides (arbiter/register/). The guest is abstract: its state is a hash of all its inputs,
// and what it says at a stop depends on that state.
//
//   guest.hpp     the guest
//   replica*      a replica's process: its vCPU, its end of the channel
//   link.*        what replicas say to each other, and the connection it goes over
//   arbiter.*     the arbiter, as far away and as reachable as it may be
//   network.*     who hears what the replicas say, and judges it
//   world.*       time, all of these, and what can be done to them
//   trace.hpp     what happened, a line an event
//   pace.hpp      how long things take:
//   chance.*        as a seed will have it
//   schedule.*, faults.cpp   what befalls a VM by chance
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

#include "tests/simulation/hypervisor/replication/trace.hpp"
#include "tests/simulation/hypervisor/replication/world.hpp"

namespace understudy::replication::simulation {

struct Result {
    std::string violation;  // empty: none
    Tally tally;
    std::vector<std::string> story;
};

// All of it follows from the seed.
[[nodiscard]] Result simulate(std::uint64_t seed, Detail told = Detail::nothing);

}  // namespace understudy::replication::simulation
