#include "hypervisor/replication/loop/checkpoint_sink.hpp"

#include <algorithm>
#include <iterator>

namespace understudy::replication {

CheckpointSink::CheckpointSink(FileDescriptor connection, Bytes memory, Release release)
    : sender_(std::move(connection), memory), release_(std::move(release)), thread_([this] { send_all(); }) {}

CheckpointSink::~CheckpointSink() {
    end();
}

void CheckpointSink::end() {
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
        changed_.notify_all();
    }
    sender_.shut_down();
    if (thread_.joinable()) {
        thread_.join();
        figures_.bytes = sender_.sent().value;
    }
}

// --- The vCPU's thread

void CheckpointSink::hold(std::vector<Output> outputs) {
    held_.insert(held_.end(), std::make_move_iterator(outputs.begin()), std::make_move_iterator(outputs.end()));
}

void CheckpointSink::mark(const Record& /*mark*/, std::vector<Output> outputs) {
    hold(std::move(outputs));
}

void CheckpointSink::accept(const Record& record, std::vector<Output> outputs) {
    hold(std::move(outputs));
    stop_ = record.stop;
    clock_ = record.input.clock;
    ++figures_.stops;
}

void CheckpointSink::settled(machine::Machine& machine) {
    const bool last = stop_.kind == StopKind::exit || stop_.kind == StopKind::fault;
    if (!due_.exchange(false) && !last) {
        return;
    }
    const auto since = std::chrono::steady_clock::now();
    await_keeper();
    copy(machine);
    if (std::exchange(begun_, true)) {
        const std::chrono::nanoseconds stood = std::chrono::steady_clock::now() - since;
        ++figures_.checkpoints;
        figures_.pages += pages_copied_;
        figures_.stood += stood;
        figures_.longest = std::max(figures_.longest, stood);
    }
    if (last) {
        await_keeper();
    }
}

void CheckpointSink::copy(machine::Machine& machine) {
    copied_ = {stop_, clock_, machine.save_vcpu(), {}, std::exchange(held_, {})};
    pages_copied_ = 0;
    machine.take_written(*this);
    const std::lock_guard lock(mutex_);
    waiting_ = std::move(copied_);
    changed_.notify_all();
}

void CheckpointSink::take(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) {
    pages_copied_ += numbers.size();
    copied_.pages.emplace_back(std::move(numbers), std::move(content));
}

// Until it has all that was copied. At the most one checkpoint is on its way while the guest runs.
void CheckpointSink::await_keeper() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || failure_ || (!busy_ && !waiting_); });
    if (failure_) {
        std::rethrow_exception(failure_);
    }
}

// --- The sender's thread

std::optional<CheckpointSink::Checkpoint> CheckpointSink::next() {
    std::unique_lock lock(mutex_);
    busy_ = false;
    changed_.notify_all();
    changed_.wait(lock, [&] { return ended_ || waiting_; });
    if (ended_) {
        return std::nullopt;
    }
    busy_ = true;
    return std::exchange(waiting_, std::nullopt);
}

void CheckpointSink::send_all() {
    try {
        while (auto checkpoint = next()) {
            for (auto& [numbers, content] : checkpoint->pages) {
                sender_.send(std::move(numbers), std::move(content));
            }
            sender_.finish(checkpoint->stop, checkpoint->clock, std::move(checkpoint->processor));
            release_(std::move(checkpoint->outputs));
        }
    } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!ended_) {  // else it is end() that has cut the stream
            failure_ = std::current_exception();
        }
        changed_.notify_all();
    }
}

}  // namespace understudy::replication
