#include "hypervisor/replication/log_window.hpp"

#include <cstdio>
#include <cstdlib>
#include <algorithm>
#include <utility>

namespace understudy::replication {

namespace {

void require(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "understudy: log window: %s\n", what);
        std::abort();
    }
}

}  // namespace

LogWindow::LogWindow(StopNumber base, WindowLimits limits)
    : limits_(limits), base_(base), last_sent_(base), received_(base), replayed_(base) {}

void LogWindow::sent(StopNumber stop, GuestTime clock, Bytes size, bool mark) {
    require(stop >= last_sent_, "a stop was sent out of order");
    require(stop > last_sent_ || open_mark_, "a stop was sent twice");
    if (std::exchange(open_mark_, mark)) {
        require(stop == last_sent_ && !entries_.empty(), "a mark was left without its record");
        entries_.back().bytes += size.value;
        bytes_ += size.value;
        received_bytes_ += received_entries_ == entries_.size() ? size.value : 0;
        entries_.back().clock = last_clock_ = clock;
        return;
    }
    last_clock_ = mark ? last_clock_ : clock;
    entries_.push_back({stop, last_clock_, size.value});
    bytes_ += size.value;
    last_sent_ = stop;
}

bool LogWindow::report(StopNumber received, StopNumber replayed) {
    if (received > last_sent_ || replayed > received) {
        return false;
    }
    while (received_entries_ < entries_.size() && entries_[received_entries_].stop <= received) {
        const Entry& entry = entries_[received_entries_++];
        received_bytes_ += entry.bytes;
        received_ = entry.stop;
    }
    while (received_entries_ > 0 && entries_.front().stop <= replayed) {
        const Entry& entry = entries_.front();
        bytes_ -= entry.bytes;
        received_bytes_ -= entry.bytes;
        replayed_ = entry.stop;
        entries_.pop_front();
        --received_entries_;
    }
    if (replayed_ > base_) {
        constexpr int kSteps = 50;  // with a report every few milliseconds a lag is made up within a second
        const GuestTime lag = unreplayed().time;
        const GuestTime before = allowed_time_.value_or(lag);
        allowed_time_ = std::max(limits_.unreplayed_time, std::min(lag, before - before / kSteps));
    }
    return true;
}

bool LogWindow::may_proceed() const {
    const Lag lag = unreplayed();
    if (lag.bytes >= limits_.unreplayed || lag.records >= limits_.unreplayed_records) {
        return false;
    }
    return !allowed_time_ || (unacknowledged().bytes < limits_.unacknowledged && lag.time < *allowed_time_);
}

LogWindow::Lag LogWindow::lag_from(std::size_t first, std::uint64_t bytes) const {
    const bool empty = first == entries_.size();
    return {entries_.size() - first, {bytes}, empty ? GuestTime(0) : entries_.back().clock - entries_[first].clock};
}

LogWindow::Lag LogWindow::unacknowledged() const {
    return lag_from(received_entries_, bytes_ - received_bytes_);
}
LogWindow::Lag LogWindow::unreplayed() const {
    return lag_from(0, bytes_);
}

ReplayBacklog::ReplayBacklog(StopNumber base, WindowLimits limits)
    : limits_(limits), received_(base), replayed_(base) {}

ReplayBacklog::Verdict ReplayBacklog::receive(StopNumber stop, Bytes size, bool mark) {
    if (std::exchange(open_mark_, mark)) {
        if (stop != received_ || entries_.empty()) {
            return Verdict::out_of_order;
        }
        entries_.back().bytes += size.value;
        bytes_ += size.value;
        return Verdict::accepted;
    }
    if (stop <= received_) {
        return Verdict::out_of_order;
    }
    if (entries_.size() >= 2 * limits_.unreplayed_records || bytes_ + size.value > 2 * limits_.unreplayed.value) {
        return Verdict::overrun;
    }
    entries_.push_back({stop, size.value});
    bytes_ += size.value;
    received_ = stop;
    return Verdict::accepted;
}

void ReplayBacklog::replayed() {
    require(!entries_.empty(), "a record was replayed that was not received");
    bytes_ -= entries_.front().bytes;
    replayed_ = entries_.front().stop;
    entries_.pop_front();
}

}  // namespace understudy::replication
