// What waits for the guest between two stops: received frames, what is typed into its console, and requests to look up.
// Filled by the I/O thread, emptied by the vCPU's.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <span>
#include <vector>

#include "common/execution.hpp"

namespace understudy::replication {

// Thread-safe. Bounded in frames and in bytes: a frame that finds it full is dropped, as a NIC would; who types waits.
class InputQueue {
  public:
    using Clock = std::chrono::steady_clock;
    struct Limits {
        std::size_t frames = 2048;
        std::size_t bytes = std::size_t{8} << 20;
        std::size_t typed_bytes = std::size_t{64} << 10;
    };
    // Whether what is typed counts as a reason to stop: not while the guest's console has no room for it.
    enum class Typed { counts, waits };

    InputQueue() : InputQueue(Limits{}) {}
    explicit InputQueue(Limits limits) : limits_(limits) {}

    // False when the frame was dropped.
    bool push(Frame frame);
    // How many of `bytes`, from the first on, found room.
    [[nodiscard]] std::size_t type(std::span<const std::byte> bytes);
    // Ends a wait without a frame: something else than input wants the guest to stop. Used up by take(): it has.
    void poke();
    // Up to `frames` frames, of `bytes` in all, in order.
    [[nodiscard]] std::vector<Frame> take(std::size_t frames, std::size_t bytes);
    // Up to `bytes` of what was typed, in order.
    [[nodiscard]] std::vector<std::byte> take_typed(std::size_t bytes);
    // Puts frames that were taken last in front again, whatever the limits.
    void put_back(std::vector<Frame> frames);
    // Until there is a frame, something typed (if that counts), a poke or the deadline.
    void wait_until(Clock::time_point deadline, Typed typed = Typed::counts);

    [[nodiscard]] bool empty() const;
    // More than half full: whoever fills it should pause.
    [[nodiscard]] bool crowded() const;
    // Bytes that type() has room for.
    [[nodiscard]] std::size_t room_to_type() const;
    // Frames, something typed (if that counts), or a poke not yet used up.
    [[nodiscard]] bool wants_stop(Typed typed = Typed::counts) const;

  private:
    [[nodiscard]] bool ready(Typed typed) const;  // under the mutex

    const Limits limits_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Frame> frames_;
    std::size_t bytes_ = 0;  // of frames_
    std::deque<std::byte> typed_;
    bool poked_ = false;
};

}  // namespace understudy::replication
