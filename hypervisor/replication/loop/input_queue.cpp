#include "hypervisor/replication/loop/input_queue.hpp"

#include <algorithm>
#include <iterator>

namespace understudy::replication {

bool InputQueue::push(Frame frame) {
    const std::lock_guard lock(mutex_);
    if (frames_.size() >= capacity_) {
        return false;
    }
    frames_.push_back(std::move(frame));
    wake_.notify_one();
    return true;
}

void InputQueue::poke() {
    const std::lock_guard lock(mutex_);
    poked_ = true;
    wake_.notify_one();
}

std::vector<Frame> InputQueue::take(std::size_t limit) {
    const std::lock_guard lock(mutex_);
    const auto count = static_cast<std::ptrdiff_t>(std::min(limit, frames_.size()));
    std::vector<Frame> taken(std::make_move_iterator(frames_.begin()),
                             std::make_move_iterator(frames_.begin() + count));
    frames_.erase(frames_.begin(), frames_.begin() + count);
    return taken;
}

void InputQueue::wait_until(Clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    const auto ready = [&] { return poked_ || !frames_.empty(); };
    // time_point::max() overflows inside some standard libraries' conversions; without a deadline, wait plainly.
    if (deadline == Clock::time_point::max()) {
        wake_.wait(lock, ready);
    } else {
        wake_.wait_until(lock, deadline, ready);
    }
    poked_ = false;
}

bool InputQueue::empty() const {
    const std::lock_guard lock(mutex_);
    return frames_.empty();
}

bool InputQueue::crowded() const {
    const std::lock_guard lock(mutex_);
    return frames_.size() > capacity_ / 2;
}

bool InputQueue::wants_stop() const {
    const std::lock_guard lock(mutex_);
    return poked_ || !frames_.empty();
}

}  // namespace understudy::replication
