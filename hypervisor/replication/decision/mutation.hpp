// The deliberate bugs of replication (common/mutation.hpp): what a replica could get wrong. The simulation in
// tests/simulation/replication must find each of them.
#pragma once

#include <cstdint>

#include "common/mutation.hpp"

namespace understudy::replication {

enum class Mutation : std::uint8_t {
    none,
    release_before_acknowledgement,  // the Output Rule is not kept
    forget_the_gate,                 // the gate stays open when the pair forms
    form_before_coverage,            // the arbiter is asked before what left is acknowledged
    speak_on_unknown,                // an unanswered test-and-set counts as won
    speak_while_form_is_undecided,   // the backup is lost, so surely it was not formed
    loser_goes_on,                   // a lost test-and-set counts as won
    acknowledge_after_suspicion,     // records that the backup will not replay
    go_live_undrained,               // what was received and not replayed is forgotten
    no_resend,                       // outputs that may not have left are not said again
    report_before_release,           // outputs are reported as released when they are taken
    report_while_queued,             // and when they wait in this process for the network
};

}  // namespace understudy::replication
