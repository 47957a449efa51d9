#include "hypervisor/replication/replica/replica_sinks.hpp"

namespace understudy::replication {
namespace {

// A host without memory for it has no backup then, but its guest goes on.
Snapshot snapshot_of(machine::Machine& machine, const channel::LogBase& position) {
    try {
        return {position, memory::take_snapshot(machine.memory().all()), machine.save_vcpu()};
    } catch (const Error&) {
        return {position, nullptr, {}};
    }
}

}  // namespace

void LiveSink::take(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) {
    outbox_.put(Copied{std::move(numbers), std::move(content)});
}

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
        has_backup_ = true;
        outbox_.put(snapshot_of(machine, position_));
    }
    brake_.wait();
}

}  // namespace understudy::replication
