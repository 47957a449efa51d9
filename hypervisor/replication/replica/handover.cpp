#include "hypervisor/replication/replica/handover.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace understudy::replication {

void Outbox::put(Handover item, Urgency urgency) {
    bool wake = false;
    {
        std::unique_lock lock(mutex_);
        const auto has_room = [&] { return released_ || (items_.size() < kCapacity && copied_bytes_ < kCopiedBytes); };
        if (!has_room()) {
            const auto begin = std::chrono::steady_clock::now();
            room_.wait(lock, has_room);
            waited_ = waited_.load() + (std::chrono::steady_clock::now() - begin);
        }
        if (const auto* copied = std::get_if<Copied>(&item)) {
            copied_bytes_ += copied->content.size();
        }
        items_.push_back(std::move(item));
        if (urgency == Urgency::at_once || items_.size() >= kCapacity / 4) {
            wake = !std::exchange(woken_, true);
        }
    }
    if (wake) {
        wake_();
    }
}

std::vector<Handover> Outbox::take() {
    std::vector<Handover> taken;
    {
        const std::lock_guard lock(mutex_);
        taken.swap(items_);
        copied_bytes_ = 0;
        woken_ = false;
    }
    room_.notify_one();
    return taken;
}

void Outbox::release() {
    const std::lock_guard lock(mutex_);
    released_ = true;
    room_.notify_one();
}

void Intake::begin() {
    looked_ = items_.empty();
    if (looked_) {
        std::ranges::move(outbox_.take(), std::back_inserter(items_));
    }
}

void ChannelFeed::push(Record record) {
    const std::lock_guard lock(mutex_);
    records_.push_back(std::move(record));
    ready_.notify_one();
}

void ChannelFeed::close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    ready_.notify_one();
}

void ChannelFeed::abandon() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    records_.clear();
    ready_.notify_one();
}

std::optional<Record> ChannelFeed::next() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return closed_ || !records_.empty(); });
    if (records_.empty()) {
        return std::nullopt;
    }
    Record record = std::move(records_.front());
    records_.pop_front();
    return record;
}

void Brake::set(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_one();
}

void Brake::wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !held_; });
}

}  // namespace understudy::replication
