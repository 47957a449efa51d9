// The source of a guest that lives: gathers its real input at each stop.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>

#include "hypervisor/replication/loop/input_queue.hpp"
#include "hypervisor/replication/loop/pacing.hpp"
#include "hypervisor/replication/loop/source_sink.hpp"

namespace understudy::replication {

struct RecorderConfig {
    // A busy guest stops at least this often. 2^22 counted branches are one to ten milliseconds.
    InstructionCount quantum{1u << 22};
    // Every so often, in guest time, a stretch of guest memory is compared, each time the next: what replicas hold does
    // not drift apart unseen for longer than it takes to get around. More seldom where that costs the guest too much
    // (ComparisonPacing). An interval of zero: never; a window of zero: all of memory each time, whatever it costs.
    GuestTime memory_digest_interval = std::chrono::milliseconds(10);
    Bytes memory_digest_window = 4_MiB;
    // What the first write to each page costs the guest, once what it wrote was copied: machine::measure_first_write().
    std::chrono::nanoseconds first_write = PacingLimits{}.first_write;
};

class Recorder final : public Source {
  public:
    // `start`: what the guest's clock shows now; it goes on from there at the host's pace.
    Recorder(InputQueue& queue, RecorderConfig config, GuestTime start);

    std::optional<Advance> advance(const machine::Machine& machine) override;
    std::optional<PageRange> memory_to_compare(const machine::Machine& machine) override;
    bool must_wait(const Stop& stop, machine::Machine& machine) override;
    std::optional<Input> input(const Record& reached, machine::Machine& machine) override;

    // From any thread: the guest is running, so that only a kick makes it look at the queue.
    [[nodiscard]] bool guest_runs() const { return guest_runs_; }
    // From one thread, every kOverdueInterval: whether the guest has been in one interval for so long that it wants a
    // kick, and which. Code that does not count never exhausts its budget; without a kick its clock would stand still.
    [[nodiscard]] std::optional<machine::Kick> overdue();
    static constexpr std::chrono::milliseconds kOverdueInterval{6};

  private:
    using Clock = InputQueue::Clock;
    [[nodiscard]] GuestTime now() const;
    void compared();
    [[nodiscard]] std::vector<Frame> received(machine::Machine& machine, const machine::Wants& wants, bool idle);
    [[nodiscard]] Clock::time_point host_time(std::uint64_t guest_deadline) const;

    InputQueue& queue_;
    const RecorderConfig config_;
    const Clock::time_point epoch_;  // the host's time at guest time 0
    GuestTime next_memory_digest_;
    ComparisonPacing comparison_pacing_;
    std::optional<Clock::time_point> comparing_since_;
    std::uint64_t next_page_ = 0;          // to compare
    bool typing_;                          // the console's driver is known to be ready
    Clock::time_point next_forgetting_{};  // of what the guest has written
    bool interrupted_ = false;             // at the last stop
    Pacing pacing_;
    std::atomic<bool> guest_runs_{false};
    // Shared with who kicks.
    std::atomic<Clock::time_point> runs_since_{};
    std::atomic<Clock::time_point> interrupt_asked_{};
    std::atomic<bool> interrupted_for_somebody_{false};
    std::atomic<Clock::duration> interval_if_waited_for_;
    std::atomic<Clock::duration> interval_if_not_;
};

}  // namespace understudy::replication
