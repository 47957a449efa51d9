#include "guest/kernel/timers.hpp"

namespace understudy::kernel {

namespace {
constinit TimerQueue the_timers;
}  // namespace

TimerQueue& timers() {
    return the_timers;
}

void Timer::disarm() {
    if (queue_ != nullptr) {
        queue_->disarm(*this);
    }
}

void TimerQueue::place(Timer& timer, std::size_t at) {
    slots_[at] = &timer;
    timer.place_ = at;
}

void TimerQueue::rise(Timer& timer, std::size_t at) {
    while (at > 0 && timer.deadline_ < slots_[(at - 1) / 2]->deadline_) {
        place(*slots_[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    place(timer, at);
}

void TimerQueue::sink(Timer& timer, std::size_t at) {
    for (;;) {
        std::size_t child = 2 * at + 1;
        if (child >= count_) {
            break;
        }
        if (child + 1 < count_ && slots_[child + 1]->deadline_ < slots_[child]->deadline_) {
            ++child;
        }
        if (timer.deadline_ <= slots_[child]->deadline_) {
            break;
        }
        place(*slots_[child], at);
        at = child;
    }
    place(timer, at);
}

bool TimerQueue::arm(Timer& timer, std::uint64_t deadline) {
    timer.disarm();
    if (count_ == slots_.size()) {
        return false;
    }
    timer.deadline_ = deadline;
    timer.queue_ = this;
    rise(timer, count_++);
    return true;
}

void TimerQueue::disarm(Timer& timer) {
    if (timer.queue_ != this) {
        return;
    }
    timer.queue_ = nullptr;
    Timer& last = *slots_[--count_];
    if (&last == &timer) {
        return;
    }
    const std::size_t hole = timer.place_;
    if (hole > 0 && last.deadline_ < slots_[(hole - 1) / 2]->deadline_) {
        rise(last, hole);
    } else {
        sink(last, hole);
    }
}

void TimerQueue::expire(std::uint64_t now) {
    while (count_ != 0 && slots_[0]->deadline_ <= now) {
        Timer& due = *slots_[0];
        disarm(due);
        due.action_(due.context_);
    }
}

}  // namespace understudy::kernel
