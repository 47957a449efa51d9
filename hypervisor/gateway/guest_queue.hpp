// The frames on their way to the guest, over the heads of its replicas.
//
// A frame that a replica's socket took is not yet a frame that the guest has: the primary may die before the frame is
// in the log, and the sender's TCP, which saw no loss, would wait out a retransmission timeout of a second or more. So
// the queue keeps what it has sent until the guest is known to have it, and gives it to the next replica again. What
// the guest has shows in its own acknowledgements: by the output rule they leave a replica only after the record of
// what they acknowledge is safe. Kept are
//   - TCP segments with data, SYN or FIN, until the guest acknowledges them;
//   - of the segments without, the newest of each connection: it carries the host's acknowledgement and window;
//   - ARP;
// none longer than Limits::keep, and not when the room is needed for new frames. TCP and ARP drop what they have seen
// before. Datagrams are not repeated: their receivers need not notice a duplicate, and their senders must cope with a
// loss anyway.
//
// Pure: no socket, no clock. Not thread-safe.
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "hypervisor/gateway/packet.hpp"

namespace understudy::network {

class GuestQueue {
  public:
    using Clock = std::chrono::steady_clock;
    struct Limits {
        std::size_t bytes = std::size_t{16} << 20;
        std::size_t frames = 65536;
        std::chrono::milliseconds keep{30000};
    };

    GuestQueue() : GuestQueue(Limits{}) {}
    explicit GuestQueue(Limits limits) : limits_(limits) {}

    // A frame for the guest. False: the queue is full of unsent frames and this one is dropped, as a NIC would.
    bool push(std::span<const std::byte> frame);

    // A frame from the guest: what it acknowledges need not be kept.
    void heard(std::span<const std::byte> frame);

    // The unsent messages in the gateway's protocol, the oldest first; returns how many parts were filled in. They stay
    // valid until the next call that changes the queue.
    [[nodiscard]] std::size_t gather(std::span<iovec> parts) const;
    // The first `bytes` of what gather() shows have been written.
    void sent(std::size_t bytes, Clock::time_point now);
    [[nodiscard]] bool all_sent() const { return cursor_ == entries_.size(); }

    // A new replica: everything kept becomes unsent again, in its order. Returns how many frames it will get twice.
    std::size_t start_over(Clock::time_point now);

    [[nodiscard]] std::size_t frames() const { return entries_.size(); }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }

  private:
    // One TCP connection as the gateway sees it pass by; lives as long as entries refer to it.
    struct Flow {
        std::optional<Sequence> acknowledged;  // by the guest
        std::uint64_t newest = 0;              // the serial number of its newest entry
        std::size_t entries = 0;
    };
    using FlowKey = std::uint64_t;

    struct Entry {
        std::vector<std::byte> message;
        std::uint64_t serial = 0;
        Clock::time_point sent_at{};
        std::optional<FlowKey> flow;  // TCP
        std::optional<Sequence> end;  // TCP that occupies sequence space
        bool repeatable = false;
    };

    [[nodiscard]] bool is_full(std::size_t incoming) const;
    [[nodiscard]] bool is_settled(const Entry& entry, Clock::time_point now) const;
    // Forgets settled entries before the cursor.
    void sweep(Clock::time_point now);
    void forget(const Entry& entry);

    Limits limits_;
    std::deque<Entry> entries_;  // [0, cursor_) sent and kept, [cursor_, end) unsent
    std::size_t cursor_ = 0;
    std::size_t partial_ = 0;  // bytes of entries_[cursor_] already written
    std::size_t bytes_ = 0;
    std::size_t sweep_at_ = 0;  // sweep when this many sent entries have gathered; keeps its cost linear
    std::uint64_t next_serial_ = 1;
    std::unordered_map<FlowKey, Flow> flows_;
};

}  // namespace understudy::network
