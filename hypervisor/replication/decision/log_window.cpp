#include "hypervisor/replication/decision/log_window.hpp"

#include <algorithm>
#include <utility>

#include "common/require.hpp"

namespace understudy::replication {

namespace {

// A limit that shrinks to `least`. For two that the backup took the guest may add one.
template <typename T>
T shrunk(T allowed, T before, T now, T least) {
    const T taken = before > now ? before - now : T{};
    return now < least ? least : std::max(least, allowed - std::min(allowed, taken / 2));
}

}  // namespace

LogWindow::LogWindow(StopNumber base, WindowLimits limits)
    : limits_(limits), base_(base), last_sent_(base), received_(base), replayed_(base) {}

void LogWindow::sent(StopNumber stop, GuestTime clock, Bytes size, Sent what) {
    const bool mark = what == Sent::mark;
    require(stop >= last_sent_, "a stop was sent out of order");
    require(stop > last_sent_ || open_mark_, "a stop was sent twice");
    if (std::exchange(open_mark_, mark)) {
        require(stop == last_sent_ && !entries_.empty(), "a mark was left without its record");
        entries_.back().bytes += size.value;
        bytes_ += size.value;
        received_bytes_ += received_entries_ == entries_.size() ? size.value : 0;
        entries_.back().time = advance(clock, what);
        waits_ = !may_proceed();
        return;
    }
    entries_.push_back({stop, mark ? last_time_ : advance(clock, what), size.value});
    bytes_ += size.value;
    last_sent_ = stop;
    waits_ = waits_ || !may_proceed();
}

// The guest's clock went on while the guest waited for its backup, too; to replay that costs nothing.
GuestTime LogWindow::advance(GuestTime clock, Sent what) {
    if (!std::exchange(waits_, false) && what != Sent::copy) {
        last_time_ += clock - last_clock_;
    }
    last_clock_ = clock;
    return last_time_;
}

bool LogWindow::report(StopNumber received, StopNumber replayed) {
    const bool before_its_record = open_mark_ && replayed >= last_sent_;
    if (received > last_sent_ || replayed > received || before_its_record) {
        return false;
    }
    const Lag unreplayed_before = unreplayed();
    const Bytes unacknowledged_before = unacknowledged().bytes;
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
        give_way(unreplayed_before, unacknowledged_before);
    }
    return true;
}

void LogWindow::give_way(const Lag& unreplayed_before, Bytes unacknowledged_before) {
    const Lag lag = unreplayed();
    Allowed& allowed = allowed_ ? *allowed_ : allowed_.emplace(Allowed{unreplayed_before, unacknowledged_before});
    const Lag before = std::exchange(allowed.unreplayed, {});
    allowed.unreplayed.time = shrunk(before.time, unreplayed_before.time, lag.time, limits_.unreplayed_time);
    allowed.unreplayed.bytes.value =
        shrunk(before.bytes.value, unreplayed_before.bytes.value, lag.bytes.value, limits_.unreplayed.value);
    allowed.unreplayed.records =
        shrunk(before.records, unreplayed_before.records, lag.records, limits_.unreplayed_records);
    allowed.unacknowledged.value = shrunk(allowed.unacknowledged.value, unacknowledged_before.value,
                                          unacknowledged().bytes.value, limits_.unacknowledged.value);
}

bool LogWindow::may_proceed() const {
    const Lag lag = unreplayed();
    if (!allowed_) {
        return lag.bytes.value < limits_.in_transfer * limits_.unreplayed.value &&
               lag.records < limits_.in_transfer * limits_.unreplayed_records;
    }
    return lag.bytes < allowed_->unreplayed.bytes && lag.records < allowed_->unreplayed.records &&
           lag.time < allowed_->unreplayed.time && unacknowledged().bytes < allowed_->unacknowledged;
}

LogWindow::Lag LogWindow::lag_from(std::size_t first, std::uint64_t bytes) const {
    const bool empty = first == entries_.size();
    return {entries_.size() - first, {bytes}, empty ? GuestTime(0) : entries_.back().time - entries_[first].time};
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
    const std::uint64_t share = 2 * std::uint64_t{limits_.in_transfer};
    const std::uint64_t most_bytes = share * limits_.unreplayed.value;
    if (entries_.size() >= share * limits_.unreplayed_records || bytes_ - large_bytes_ >= most_bytes ||
        (is_large(size.value) && large_ >= kLargeAtOnce && large_bytes_ >= most_bytes)) {
        return Verdict::overrun;
    }
    entries_.push_back({stop, size.value, is_large(size.value)});
    bytes_ += size.value;
    if (entries_.back().large) {
        large_bytes_ += size.value;
        ++large_;
    }
    received_ = stop;
    return Verdict::accepted;
}

void ReplayBacklog::replayed() {
    require(!entries_.empty(), "a record was replayed that was not received");
    const std::uint64_t size = entries_.front().bytes;
    bytes_ -= size;
    if (entries_.front().large) {
        large_bytes_ -= size;
        --large_;
    }
    replayed_ = entries_.front().stop;
    entries_.pop_front();
}

}  // namespace understudy::replication
