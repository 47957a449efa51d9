// The Output Rule: what the guest says at stop s leaves the host only when the backup has every record up to and
// including s. The guest does not wait; its outputs do. (Scales, Nelson, Venkitachalam, "The Design of a Practical
// System for Fault-Tolerant Virtual Machines", 2010, section 2.2.)
//
// Pure: no sockets, threads or clocks. Each call returns what may leave now, in order; the caller sends it before it
// makes the next call, and may report released_up_to() to the backup as far as that has left (departures.hpp). Not
// thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "common/execution.hpp"
#include "common/units.hpp"

namespace understudy::replication {

// Outputs by stop, oldest first, with their size.
class HeldOutputs {
  public:
    void push(StopNumber stop, std::vector<Output> outputs);
    // Takes out the outputs of all stops up to `up_to`.
    [[nodiscard]] std::vector<Output> pop(StopNumber up_to);
    [[nodiscard]] Bytes size() const { return {bytes_}; }

  private:
    struct Entry {
        StopNumber stop;
        std::vector<Output> outputs;
    };
    std::deque<Entry> entries_;
    std::uint64_t bytes_ = 0;
};

// At the replica that speaks. Open: it speaks alone, nothing waits. Closed: a backup may take over, outputs wait for
// its acknowledgements.
class OutputGate {
  public:
    // Open; `taken` is the last stop whose outputs were taken before (0: boot).
    explicit OutputGate(StopNumber taken = {}) : taken_(taken), released_(taken) {}

    // The outputs of `stop`, a later one than any before; for a stop without outputs too, so that released_up_to()
    // knows of it.
    [[nodiscard]] std::vector<Output> take(StopNumber stop, std::vector<Output> outputs);

    // The backup has every record up to `up_to`. Old and repeated acknowledgements are harmless.
    [[nodiscard]] std::vector<Output> acknowledge(StopNumber up_to);

    // From the next stop on outputs wait. Returns the last stop whose outputs left without an acknowledgement.
    StopNumber close();

    // Everything held may leave: this replica speaks alone now.
    [[nodiscard]] std::vector<Output> open();

    [[nodiscard]] bool is_open() const { return open_; }
    // The outputs of all stops up to this one have left.
    [[nodiscard]] StopNumber released_up_to() const { return released_; }
    // What waits. ReplicaCore holds the guest while this is beyond its bound (ReplicaLimits::held_outputs).
    [[nodiscard]] Bytes held() const { return held_.size(); }

  private:
    bool open_ = true;
    StopNumber taken_;
    StopNumber acknowledged_;
    StopNumber released_;
    HeldOutputs held_;
};

// At the replica that replays: keeps what the guest said after the last stop that the primary reported as released, to
// say it again on going live. Receivers drop what they have seen already.
class OutputRetention {
  public:
    // The outputs of the replayed `stop`, a later one than any before.
    void keep(StopNumber stop, std::vector<Output> outputs);
    // The primary's report: the outputs of all stops up to `up_to` have left. May run ahead of the replay.
    void released(StopNumber up_to);
    // Everything kept, in order.
    [[nodiscard]] std::vector<Output> go_live();
    // The newest report.
    [[nodiscard]] StopNumber released_up_to() const { return released_; }

    // What is kept. The primary bounds it by the records that it lets this replica hold (log_window.hpp).
    [[nodiscard]] Bytes kept() const { return kept_.size(); }

  private:
    StopNumber replayed_;
    StopNumber released_;
    HeldOutputs kept_;
};

}  // namespace understudy::replication
