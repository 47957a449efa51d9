// The one loop: runs the guest from stop to stop, in every role.
#pragma once

#include <functional>

#include "hypervisor/replication/loop/source_sink.hpp"

namespace understudy::replication {

// A source and the sink that goes with it. Not owned.
struct Voice {
    Source* source = nullptr;
    Sink* sink = nullptr;
};

// Asked when a source has ended; the answer speaks from then on. A null source ends the loop.
using Successor = std::function<Voice()>;

enum class Ending {
    exit,       // the program ended; `last` is its exit stop
    fault,      // the guest broke; the machine has the report
    no_source,  // the source ended and had no successor
    abandoned,  // Machine::abandon() was called
};
struct LoopResult {
    Ending ending = Ending::abandoned;
    Record last;  // of the last stop, where there was one
};

// Runs on the calling thread, which becomes the vCPU's. Throws what machine, source and sink throw.
LoopResult run_loop(machine::Machine& machine, Voice voice, const Successor& successor);

}  // namespace understudy::replication
