// How far the log may run ahead of the backup. The backup acknowledges on receipt and reads without pause, so it is the
// primary that keeps the backup's memory bounded: it counts what it sent that was not acknowledged, and what was sent
// that was not replayed, and lets the guest wait beyond a bound. (A backup that stopped reading instead would also stop
// hearing that outputs were released, and that its peer is alive.)
//
// Pure: no sockets, threads or clocks. Not thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>

#include "common/execution.hpp"
#include "common/units.hpp"

namespace understudy::replication {

struct WindowLimits {
    Bytes unacknowledged = 8_MiB;
    Bytes unreplayed = 64_MiB;
    std::uint64_t unreplayed_records = 100'000;
    // Of guest time between the oldest and the newest. It bounds how long a takeover takes: the backup replays all of
    // it before it speaks.
    GuestTime unreplayed_time = std::chrono::milliseconds(40);
    // While a state is transferred so many times as much may gather, of bytes and records: that takes minutes where
    // memory is large or the network slow, and the guest goes on.
    unsigned in_transfer = 8;
};

// What goes to the backup.
enum class Sent : std::uint8_t {
    record,
    mark,  // its record follows, with the same stop
    copy,  // a record of an interval that the backup takes over: to replay it costs no time
};

// At the primary.
class LogWindow {
  public:
    struct Lag {
        std::uint64_t records = 0;
        Bytes bytes;
        GuestTime time{0};  // from the oldest of these records to the newest, without what the guest had to wait
    };

    // Begins behind the stop that the state was taken at. While a state is transferred the backup neither receives nor
    // replays anything, the limits on time and on what is not acknowledged do not count, and the others are wider. From
    // its first replayed stop on it is behind by what the transfer took, and if the guest computes it stays so; that
    // lag is the limit at first, in time, bytes and records, and shrinks by half of what each report says was taken
    // until it is the configured one. So the guest runs at half the backup's speed for a while instead of standing
    // still.
    explicit LogWindow(StopNumber base, WindowLimits limits = {});

    // A record, encoded in `size` bytes, went to the backup. Stops grow; a mark and the record that completes it have
    // the same. A mark's `clock` means nothing.
    void sent(StopNumber stop, GuestTime clock, Bytes size, Sent what = Sent::record);

    // What the backup reports: everything up to `received` is in its memory, up to `replayed` replayed. Old reports are
    // harmless. False: it claims what was never sent, or more replayed than received, or the stop of a mark whose
    // record is still to come; the peer is broken.
    [[nodiscard]] bool report(StopNumber received, StopNumber replayed);

    // Whether the guest may run on. ReplicaCore asks whenever the vCPU's thread has handed something over or the backup
    // has reported; what is recorded between two questions goes beyond a limit, and that is no harm.
    [[nodiscard]] bool may_proceed() const;

    [[nodiscard]] StopNumber last_sent() const { return last_sent_; }
    [[nodiscard]] StopNumber acknowledged_up_to() const { return received_; }
    [[nodiscard]] StopNumber replayed_up_to() const { return replayed_; }
    [[nodiscard]] Lag unacknowledged() const;
    [[nodiscard]] Lag unreplayed() const;
    [[nodiscard]] bool caught_up() const { return allowed_ && allowed_->unreplayed.time == limits_.unreplayed_time; }

  private:
    struct Entry {
        StopNumber stop;
        GuestTime time;
        std::uint64_t bytes;
    };

    // Until the backup has caught up.
    struct Allowed {
        Lag unreplayed;
        Bytes unacknowledged;
    };

    [[nodiscard]] Lag lag_from(std::size_t first, std::uint64_t bytes) const;
    GuestTime advance(GuestTime clock, Sent what);
    void give_way(const Lag& unreplayed_before, Bytes unacknowledged_before);

    WindowLimits limits_;
    StopNumber base_;
    std::deque<Entry> entries_;         // sent, not replayed
    std::size_t received_entries_ = 0;  // of these, received
    std::uint64_t received_bytes_ = 0;  // of the received ones
    std::uint64_t bytes_ = 0;           // of all
    StopNumber last_sent_;
    StopNumber received_;
    StopNumber replayed_;
    GuestTime last_clock_{0};
    GuestTime last_time_{0};          // the same without what the guest had to wait
    bool waits_ = false;              // the next record comes after a wait
    std::optional<Allowed> allowed_;  // nothing: the state is under way
    bool open_mark_ = false;          // the last entry is a mark
};

// At the backup: records received, not yet replayed. The queue itself is the caller's; this is its account, which
// refuses what a sound primary never sends.
class ReplayBacklog {
  public:
    // `limits` are the primary's; a factor of two is allowed for what was under way.
    explicit ReplayBacklog(StopNumber base, WindowLimits limits = {});

    enum class Verdict { accepted, out_of_order, overrun };
    [[nodiscard]] Verdict receive(StopNumber stop, Bytes size, bool mark = false);
    // The oldest stop was replayed, its mark and its record; aborts when there is none.
    void replayed();

    [[nodiscard]] StopNumber received_up_to() const { return received_; }
    [[nodiscard]] StopNumber replayed_up_to() const { return replayed_; }
    [[nodiscard]] bool drained() const { return entries_.empty(); }
    [[nodiscard]] std::uint64_t records() const { return entries_.size(); }
    [[nodiscard]] Bytes size() const { return {bytes_}; }

  private:
    struct Entry {
        StopNumber stop;
        std::uint64_t bytes;
        bool large = false;
    };
    // A copy may be as large as guest memory, so of large ones a few are taken whatever they come to: the primary's
    // guest waits for each that reaches the limit, but may have begun the next.
    static constexpr std::uint64_t kLargeAtOnce = 4;
    [[nodiscard]] bool is_large(std::uint64_t bytes) const { return bytes > limits_.unreplayed.value / 4; }

    WindowLimits limits_;
    std::deque<Entry> entries_;
    std::uint64_t bytes_ = 0;
    std::uint64_t large_bytes_ = 0;  // of large entries
    std::uint64_t large_ = 0;
    StopNumber received_;
    StopNumber replayed_;
    bool open_mark_ = false;  // the last entry is a mark
};

}  // namespace understudy::replication
