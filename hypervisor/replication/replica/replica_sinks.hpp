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

    machine::WrittenPages* written_pages() override {
        return taken_ != 0 && taken_ == followed_.load() ? this : nullptr;
    }
    void mark(const Record& mark, std::vector<Output> outputs) override;
    void accept(const Record& record, std::vector<Output> outputs) override;
    void settled(machine::Machine& machine) override;

    // I/O thread: take the guest's state into `snapshot` at the first stop at which it is ready; from there on somebody
    // follows. The number comes with the Snapshot: one of another number is late, and nobody's.
    [[nodiscard]] TransferNumber begin_transfer(std::unique_ptr<memory::MemorySnapshot> snapshot);
    // I/O thread: nobody follows any more, nor is about to.
    void end_transfer();
    // I/O thread: the guest's next stop is the one that is waited for.
    [[nodiscard]] bool wants_stop();

  private:
    void take(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) override;
    struct Due {
        TransferNumber transfer = 0;
        std::unique_ptr<memory::MemorySnapshot> snapshot;  // null: none
    };
    [[nodiscard]] Due due_snapshot();

    Outbox& outbox_;
    Brake& brake_;
    std::atomic<bool> snapshot_requested_{false};
    std::atomic<TransferNumber> followed_{0};  // the transfer of who follows, or will
    TransferNumber taken_ = 0;                 // the last whose snapshot was taken; vCPU's thread
    std::mutex mutex_;
    TransferNumber begun_ = 0;                          // the last
    std::unique_ptr<memory::MemorySnapshot> snapshot_;  // its, that is not taken yet
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
