// What is to happen at a time: timerfd, interval timers. A binary heap of the armed timers, earliest first; a timer is
// a member of whatever it wakes and disarms itself when that goes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace understudy::kernel {

class TimerQueue;

class Timer {
  public:
    using Action = void (*)(void* context);
    constexpr Timer(Action action, void* context) : action_(action), context_(context) {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    ~Timer() { disarm(); }

    [[nodiscard]] bool armed() const { return queue_ != nullptr; }
    [[nodiscard]] std::uint64_t deadline() const { return deadline_; }
    void disarm();

  private:
    friend class TimerQueue;
    Action action_;
    void* context_;
    std::uint64_t deadline_ = 0;
    std::size_t place_ = 0;  // in the queue's heap
    TimerQueue* queue_ = nullptr;
};

class TimerQueue {
  public:
    static constexpr std::uint64_t kNone = ~0ULL;

    // Takes over `slots`, which bounds how many timers can be armed at once.
    void initialize(std::span<Timer*> slots) { slots_ = slots; }

    // (Re)arms; false when every slot is taken.
    bool arm(Timer& timer, std::uint64_t deadline);
    void disarm(Timer& timer);
    // Disarms and runs each timer whose deadline is not after `now`, earliest first. Actions may arm and disarm.
    void expire(std::uint64_t now);
    [[nodiscard]] std::uint64_t next() const { return count_ == 0 ? kNone : slots_[0]->deadline_; }
    [[nodiscard]] std::size_t count() const { return count_; }

  private:
    void place(Timer& timer, std::size_t at);
    void rise(Timer& timer, std::size_t at);
    void sink(Timer& timer, std::size_t at);

    std::span<Timer*> slots_;
    std::size_t count_ = 0;
};

TimerQueue& timers();

}  // namespace understudy::kernel
