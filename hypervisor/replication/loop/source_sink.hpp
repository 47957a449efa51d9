// The two sides of the one loop (loop.hpp). A primary records, a backup replays, a lone guest records into nothing:
// they differ in the source of records and the sink for them, and in nothing else.
#pragma once

#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "common/execution.hpp"
#include "hypervisor/machine/machine.hpp"

namespace understudy::replication {

// How the guest gets to its next stop: by running, or by taking over what it left behind elsewhere.
using Advance = std::variant<machine::Budget, std::shared_ptr<const Delta>>;

// Where the guest's input comes from: the world (recorder) or a log (replayer). Called on the vCPU's thread.
class Source {
  public:
    virtual ~Source() = default;

    // How the guest goes on from here. A replayer waits until it knows where the interval ends. Nothing: this source
    // has ended.
    virtual std::optional<Advance> advance(const machine::Machine& machine) = 0;

    // Of which memory the record of this stop is to carry a digest.
    virtual std::optional<PageRange> memory_to_compare(const machine::Machine& machine) = 0;

    // Whether input() would wait for the world at this stop: its outputs should not have to.
    virtual bool must_wait(const Stop& stop, machine::Machine& machine) = 0;

    // The input at the stop just reached; waits while the guest is idle. `reached` holds the stop and the digests, for
    // a replayer to compare. Nothing: this source has ended, and another one must say.
    virtual std::optional<Input> input(const Record& reached, machine::Machine& machine) = 0;
};

// Where records and outputs go. Called on the vCPU's thread.
class Sink {
  public:
    virtual ~Sink() = default;

    // Who keeps what the guest writes in an interval that nobody can run again; its record follows. Null: nobody does.
    virtual machine::WrittenPages* written_pages() { return nullptr; }
    // A stop whose input is still to come: the outputs may leave before it does (see Record::mark).
    virtual void mark(const Record& mark, std::vector<Output> outputs) = 0;
    // A whole record, already applied; `outputs` is empty when mark() had them.
    virtual void accept(const Record& record, std::vector<Output> outputs) = 0;
    // The stop is over and the guest's state complete: the place to copy it.
    virtual void settled(machine::Machine& machine) = 0;
};

}  // namespace understudy::replication
