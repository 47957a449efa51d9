#include "hypervisor/replication/loop/input_queue.hpp"

#include <algorithm>
#include <iterator>

namespace understudy::replication {

bool InputQueue::push(Frame frame) {
    const std::lock_guard lock(mutex_);
    if (frames_.size() >= limits_.frames || frame.size() > limits_.bytes - std::min(bytes_, limits_.bytes)) {
        return false;
    }
    bytes_ += frame.size();
    frames_.push_back(std::move(frame));
    wake_.notify_one();
    return true;
}

std::size_t InputQueue::type(std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    const auto taken = bytes.first(std::min(bytes.size(), limits_.typed_bytes - typed_.size()));
    typed_.insert(typed_.end(), taken.begin(), taken.end());
    wake_.notify_one();
    return taken.size();
}

void InputQueue::poke() {
    const std::lock_guard lock(mutex_);
    poked_ = true;
    wake_.notify_one();
}

std::vector<Frame> InputQueue::take(std::size_t frames, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    poked_ = false;
    std::vector<Frame> taken;
    while (taken.size() < frames && !frames_.empty() && frames_.front().size() <= bytes) {
        bytes -= frames_.front().size();
        bytes_ -= frames_.front().size();
        taken.push_back(std::move(frames_.front()));
        frames_.pop_front();
    }
    return taken;
}

std::vector<std::byte> InputQueue::take_typed(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto end = typed_.begin() + static_cast<std::ptrdiff_t>(std::min(bytes, typed_.size()));
    std::vector<std::byte> taken(typed_.begin(), end);
    typed_.erase(typed_.begin(), end);
    return taken;
}

void InputQueue::put_back(std::vector<Frame> frames) {
    const std::lock_guard lock(mutex_);
    for (const Frame& frame : frames) {
        bytes_ += frame.size();
    }
    frames_.insert(frames_.begin(), std::make_move_iterator(frames.begin()), std::make_move_iterator(frames.end()));
}

bool InputQueue::ready(Typed typed) const {
    return poked_ || !frames_.empty() || (typed == Typed::counts && !typed_.empty());
}

void InputQueue::wait_until(Clock::time_point deadline, Typed typed) {
    std::unique_lock lock(mutex_);
    const auto is_ready = [&] { return ready(typed); };
    // time_point::max() overflows inside some standard libraries' conversions; without a deadline, wait plainly.
    if (deadline == Clock::time_point::max()) {
        wake_.wait(lock, is_ready);
    } else {
        wake_.wait_until(lock, deadline, is_ready);
    }
}

bool InputQueue::empty() const {
    const std::lock_guard lock(mutex_);
    return frames_.empty();
}

bool InputQueue::crowded() const {
    const std::lock_guard lock(mutex_);
    return frames_.size() > limits_.frames / 2 || bytes_ > limits_.bytes / 2;
}

std::size_t InputQueue::room_to_type() const {
    const std::lock_guard lock(mutex_);
    return limits_.typed_bytes - typed_.size();
}

bool InputQueue::wants_stop(Typed typed) const {
    const std::lock_guard lock(mutex_);
    return ready(typed);
}

}  // namespace understudy::replication
