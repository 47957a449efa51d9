#include "hypervisor/replication/replica/replica_sinks.hpp"

#include <chrono>
#include <utility>

namespace understudy::replication {
namespace {

using Clock = std::chrono::steady_clock;

// Where it cannot be taken there is no backup, but the guest goes on.
Snapshot snapshot_of(machine::Machine& machine, TransferNumber transfer, const channel::LogBase& position,
                     std::unique_ptr<memory::MemorySnapshot> memory) {
    const auto begin = Clock::now();
    try {
        memory->take();
        return {transfer, position, std::move(memory), machine.save_vcpu(), Clock::now() - begin};
    } catch (const Error&) {
        return {transfer, position, nullptr, {}, Clock::now() - begin};
    }
}

}  // namespace

void LiveSink::take(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) {
    outbox_.put(Copied{std::move(numbers), std::move(content)});
}

TransferNumber LiveSink::begin_transfer(std::unique_ptr<memory::MemorySnapshot> snapshot) {
    const std::lock_guard lock(mutex_);
    snapshot_.swap(snapshot);
    snapshot_requested_ = true;
    followed_ = ++begun_;
    return begun_;
}

void LiveSink::end_transfer() {
    std::unique_ptr<memory::MemorySnapshot> snapshot;
    const std::lock_guard lock(mutex_);
    snapshot_.swap(snapshot);
    snapshot_requested_ = false;
    followed_ = 0;
}

bool LiveSink::wants_stop() {
    const std::lock_guard lock(mutex_);
    return snapshot_ && snapshot_->ready();
}

LiveSink::Due LiveSink::due_snapshot() {
    if (!snapshot_requested_) {
        return {};
    }
    const std::lock_guard lock(mutex_);
    if (!snapshot_ || !snapshot_->ready()) {
        return {};
    }
    snapshot_requested_ = false;
    return {begun_, std::move(snapshot_)};
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
    if (Due due = due_snapshot(); due.snapshot) {
        taken_ = due.transfer;
        outbox_.put(snapshot_of(machine, due.transfer, position_, std::move(due.snapshot)));
    }
    brake_.wait();
}

}  // namespace understudy::replication
