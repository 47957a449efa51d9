#include "hypervisor/replication/replica_sinks.hpp"

namespace understudy::replication {

void LiveSink::mark(const Record& mark, std::vector<Output> outputs) {
    marked_ = true;
    outbox_.put(Recorded{mark, std::move(outputs), false});
}

void LiveSink::accept(const Record& record, std::vector<Output> outputs) {
    position_ = {record.stop.number, record.stop.count, record.input.clock};
    Recorded recorded{record, std::move(outputs), marked_};
    if (marked_) {
        recorded.record.digests = {};  // the mark had them
    }
    marked_ = false;
    outbox_.put(std::move(recorded));
}

void LiveSink::settled(machine::Machine& machine) {
    if (snapshot_requested_.exchange(false)) {
        outbox_.put(Snapshot{position_, machine::take_snapshot(machine.memory().all()), machine.save_vcpu()});
    }
    brake_.wait();
}

}  // namespace understudy::replication
