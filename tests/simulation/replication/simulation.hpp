// A VM's whole life in one process and virtual time: replicas, the logging channel between them, the arbiter, the
// network that hears what they say, and everything that can go wrong between these, all drawn from one seed.
//
// The role machine, output gate, retention, log window and suspicion timer are the real ones; simulation.cpp only
// carries out their actions, as the driver in hypervisor/replication does. The guest is abstract: its state is a hash
// of all its inputs, and what it says at a stop depends on that state.
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

// Mistakes that a driver or a protocol could make, to show that the simulation would find them.
struct Mistakes {
    bool release_before_acknowledgement = false;
    bool forget_the_gate = false;                // the gate stays open when the pair forms
    bool form_before_coverage = false;           // the arbiter is asked before what left is acknowledged
    bool speak_on_unknown = false;               // an unanswered test-and-set counts as won
    bool speak_while_form_is_undecided = false;  // the backup is lost, so surely it was not formed
    bool loser_goes_on = false;
    bool acknowledge_after_suspicion = false;  // records that the backup will not replay
    bool go_live_undrained = false;            // what was received and not replayed is forgotten
    bool no_resend = false;                    // outputs that may not have left are not said again
    bool report_before_release = false;        // outputs are reported as released when they are taken
};

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

[[nodiscard]] Result simulate(std::uint64_t seed, const Mistakes& mistakes = {}, bool tell = false);

}  // namespace understudy::replication::simulation
