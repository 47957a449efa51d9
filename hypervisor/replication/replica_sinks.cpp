#include "hypervisor/replication/replica_sinks.hpp"

#include <algorithm>
#include <utility>

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

void LiveSink::request_snapshot(std::shared_ptr<machine::GuestMemory> room) {
    const std::lock_guard lock(mutex_);
    room_ = std::move(room);
    snapshot_requested_ = true;
}

void LiveSink::settled(machine::Machine& machine) {
    if (snapshot_requested_.exchange(false)) {
        const auto room = [this] {
            const std::lock_guard lock(mutex_);
            return std::exchange(room_, nullptr);
        }();
        if (room) {
            std::ranges::copy(machine.memory().all(), room->all().begin());
            outbox_.put(Snapshot{position_, room, machine.save_vcpu()});
        }
    }
    brake_.wait();
}

}  // namespace understudy::replication
