// What waits for the guest between two stops: received frames, and requests to look up. Filled by the I/O thread,
// emptied by the vCPU's.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

#include "common/execution.hpp"

namespace understudy::replication {

// Thread-safe. Bounded: a frame that finds it full is dropped, as a NIC would.
class InputQueue {
  public:
    using Clock = std::chrono::steady_clock;

    explicit InputQueue(std::size_t capacity) : capacity_(capacity) {}

    // False when the frame was dropped.
    bool push(Frame frame);
    // Ends a wait without a frame: something else than input wants the guest to stop.
    void poke();
    // Up to `limit` frames, in order.
    [[nodiscard]] std::vector<Frame> take(std::size_t limit);
    // Until there is a frame, a poke or the deadline. A poke is used up by it.
    void wait_until(Clock::time_point deadline);

    [[nodiscard]] bool empty() const;
    // More than half full: whoever fills it should pause.
    [[nodiscard]] bool crowded() const;
    // Frames, or a poke not yet used up.
    [[nodiscard]] bool wants_stop() const;

  private:
    const std::size_t capacity_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Frame> frames_;
    bool poked_ = false;
};

}  // namespace understudy::replication
