// The queues between a replica's two threads: what the vCPU's thread hands to the I/O thread (Outbox), the log on its
// way to the replayer (ChannelFeed), and the brake with which the I/O thread holds a guest that runs too far ahead.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "common/execution.hpp"
#include "hypervisor/memory/memory_snapshot.hpp"
#include "hypervisor/replication/loop/replayer.hpp"
#include "logging_channel/record_codec.hpp"

namespace understudy::replication {

// Of the state transfers of one replica; 0: none.
using TransferNumber = std::uint64_t;

// A guest's whole state at a stop; the guest runs on while it is sent.
struct Snapshot {
    TransferNumber transfer = 0;  // that it was taken for
    channel::LogBase base;
    std::unique_ptr<memory::MemorySnapshot> memory;  // null: it could not be taken
    std::vector<std::byte> vcpu_state;
    std::chrono::nanoseconds stood_still{0};  // the guest, while it was taken
};

// A mark or a record of a guest that lives, with the outputs it brought.
struct Recorded {
    Record record;
    std::vector<Output> outputs;
    bool completes_mark = false;
};

// A stop that a following guest has replayed, found equal.
struct Replayed {
    StopNumber stop;
    GuestTime clock{0};
    std::vector<Output> outputs;
};

// Pages of a guest that lives, of the copied interval whose Recorded follows.
struct Copied {
    std::vector<std::uint64_t> numbers;
    std::vector<std::byte> content;
};

using Handover = std::variant<Snapshot, Recorded, Replayed, Copied>;

// From the vCPU's thread to the I/O thread, in order. Bounded in items and in copied bytes: put() waits while the I/O
// thread is behind.
class Outbox {
  public:
    // Waking a thread costs both sides more than what it does for one item, so what nobody waits for is left until
    // the I/O thread looks by itself, which it does every few milliseconds, or until much has gathered.
    enum class Urgency { at_once, when_convenient };

    // `wake` is called on the vCPU's thread, once for all that is put before the next take(): it makes the I/O thread
    // take().
    explicit Outbox(std::function<void()> wake) : wake_(std::move(wake)) {}

    void put(Handover item, Urgency urgency = Urgency::at_once);
    [[nodiscard]] std::vector<Handover> take();
    // put() never waits again: the replica is ending.
    void release();
    // How long put() has waited, all in all. From any thread.
    [[nodiscard]] std::chrono::nanoseconds waited() const { return waited_.load(); }

  private:
    static constexpr std::size_t kCapacity = 4096;
    static constexpr std::size_t kCopiedBytes = std::size_t{32} << 20U;

    std::function<void()> wake_;
    std::mutex mutex_;
    std::condition_variable room_;
    std::vector<Handover> items_;
    std::size_t copied_bytes_ = 0;  // in items_
    bool woken_ = false;            // since the last take()
    bool released_ = false;
    std::atomic<std::chrono::nanoseconds> waited_{};
};

// What the I/O thread has taken from the outbox and has not done yet: it may leave some of it for later. An outbox
// wakes once for all that is put before it is looked at, and it is looked at when all of this is done; so the wake of
// what was put meanwhile is used up, and whoever does the last of it has to come back (owes_a_look()). I/O thread.
class Intake {
  public:
    explicit Intake(Outbox& outbox) : outbox_(outbox) {}

    // A turn begins: where nothing was left, what the outbox has is taken.
    void begin();
    // The next to do; null: this turn has no more.
    [[nodiscard]] Handover* front() { return items_.empty() ? nullptr : &items_.front(); }
    // It is done.
    void pop() { items_.pop_front(); }
    [[nodiscard]] bool empty() const { return items_.empty(); }
    [[nodiscard]] bool owes_a_look() const { return !looked_ && items_.empty(); }

  private:
    Outbox& outbox_;
    std::deque<Handover> items_;
    bool looked_ = false;  // in this turn
};

// The log as it comes in over the channel.
class ChannelFeed final : public RecordFeed {
  public:
    // I/O thread. How much may wait here is the log window's to bound.
    void push(Record record);
    // I/O thread: nothing more will come; the replayer ends behind what is here.
    void close();
    // I/O thread: forget what is here, too.
    void abandon();

    std::optional<Record> next() override;

  private:
    std::mutex mutex_;
    std::condition_variable ready_;
    std::deque<Record> records_;
    bool closed_ = false;
};

// Holds the vCPU's thread at a stop while set.
class Brake {
  public:
    void set(bool held);  // I/O thread
    void wait();          // vCPU's thread

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool held_ = false;
};

}  // namespace understudy::replication
