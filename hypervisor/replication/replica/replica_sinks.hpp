// The sinks of a replica's two kinds of voice, on the vCPU's thread. Both only hand over to the I/O thread, where gate,
// window and connection are.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "hypervisor/replication/loop/source_sink.hpp"
#include "hypervisor/replication/replica/handover.hpp"

namespace understudy::replication {

// Of a guest that lives, alone or leading.
class LiveSink final : public Sink, private machine::WrittenPages {
  public:
    LiveSink(Outbox& outbox, Brake& brake) : outbox_(outbox), brake_(brake) {}

    machine::WrittenPages* written_pages() override { return has_backup_ ? this : nullptr; }
    void mark(const Record& mark, std::vector<Output> outputs) override;
    void accept(const Record& record, std::vector<Output> outputs) override;
    void settled(machine::Machine& machine) override;

    // I/O thread: take the guest's state into `snapshot` at the first stop at which it is ready; from there on somebody
    // follows. A null one: not any more.
    void request_snapshot(std::unique_ptr<memory::MemorySnapshot> snapshot);
    // I/O thread: the guest's next stop is the one that is waited for.
    [[nodiscard]] bool wants_stop();
    // I/O thread: nobody follows any more.
    void backup_gone() { has_backup_ = false; }

  private:
    void take(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) override;
    [[nodiscard]] std::unique_ptr<memory::MemorySnapshot> due_snapshot();

    Outbox& outbox_;
    Brake& brake_;
    std::atomic<bool> snapshot_requested_{false};
    std::atomic<bool> has_backup_{false};
    std::mutex mutex_;
    std::unique_ptr<memory::MemorySnapshot> snapshot_;  // that is not taken yet
    bool marked_ = false;
    channel::LogBase position_;  // of the last record
};

// Of a guest that follows a log; comparing is the replayer's, as its source.
class FollowingSink final : public Sink {
  public:
    explicit FollowingSink(Outbox& outbox) : outbox_(outbox) {}

    void mark(const Record& /*mark*/, std::vector<Output> /*outputs*/) override {}
    void accept(const Record& record, std::vector<Output> outputs) override {
        // The primary needs to hear of it only before its window fills.
        outbox_.put(Replayed{record.stop.number, record.input.clock, std::move(outputs)},
                    Outbox::Urgency::when_convenient);
    }
    void settled(machine::Machine& /*machine*/) override {}

  private:
    Outbox& outbox_;
};

}  // namespace understudy::replication
