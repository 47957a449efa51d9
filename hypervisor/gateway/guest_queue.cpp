#include "hypervisor/gateway/guest_queue.hpp"

#include <algorithm>

#include "hypervisor/gateway/protocol.hpp"

namespace understudy::network {
namespace {

constexpr std::size_t kSweepInterval = 128;

// There is one guest, so its own address adds nothing to the key.
std::uint64_t flow_key(std::uint32_t peer_address, std::uint16_t peer_port, std::uint16_t guest_port) {
    return (static_cast<std::uint64_t>(peer_address) << 32) | (static_cast<std::uint64_t>(peer_port) << 16) |
           guest_port;
}

}  // namespace

bool GuestQueue::push(std::span<const std::byte> frame) {
    while (is_full(frame.size()) && cursor_ > 0) {
        forget(entries_.front());
        entries_.pop_front();
        --cursor_;
    }
    if (is_full(frame.size())) {
        return false;
    }
    Entry& entry = entries_.emplace_back();
    entry.message.reserve(kMessageHeaderSize + frame.size());
    append_frame(entry.message, frame);
    entry.serial = next_serial_++;
    bytes_ += entry.message.size();
    if (const auto tcp = parse_tcp(frame)) {
        entry.flow = flow_key(tcp->source_address, tcp->source_port, tcp->destination_port);
        Flow& flow = flows_[*entry.flow];
        flow.newest = entry.serial;
        if (tcp->opens_connection) {
            flow.acknowledged.reset();  // what was said of an earlier connection between the same ports
        }
        ++flow.entries;
        if (tcp->occupies_sequence_space) {
            entry.end = tcp->end;
        }
        entry.repeatable = true;
    } else {
        entry.repeatable = is_arp(frame);
    }
    return true;
}

void GuestQueue::heard(std::span<const std::byte> frame) {
    const auto tcp = parse_tcp(frame);
    if (!tcp || !tcp->acknowledged) {
        return;
    }
    const auto found = flows_.find(flow_key(tcp->destination_address, tcp->destination_port, tcp->source_port));
    if (found == flows_.end()) {
        return;
    }
    auto& acknowledged = found->second.acknowledged;
    if (!acknowledged || tcp->acknowledged->at_or_after(*acknowledged)) {
        acknowledged = tcp->acknowledged;
    }
}

std::size_t GuestQueue::gather(std::span<iovec> parts) const {
    const std::size_t count = std::min(parts.size(), entries_.size() - cursor_);
    for (std::size_t i = 0; i < count; ++i) {
        const auto& message = entries_[cursor_ + i].message;
        const std::size_t skip = i == 0 ? partial_ : 0;
        // iovec has no const; writev does not write.
        parts[i] = {.iov_base = const_cast<std::byte*>(message.data()) + skip, .iov_len = message.size() - skip};
    }
    return count;
}

void GuestQueue::sent(std::size_t bytes, Clock::time_point now) {
    partial_ += bytes;
    while (cursor_ < entries_.size() && partial_ >= entries_[cursor_].message.size()) {
        partial_ -= entries_[cursor_].message.size();
        entries_[cursor_].sent_at = now;
        ++cursor_;
    }
    if (cursor_ >= std::max(sweep_at_, kSweepInterval)) {
        sweep(now);
        sweep_at_ = 2 * cursor_;
    }
}

std::size_t GuestQueue::start_over(Clock::time_point now) {
    sweep(now);
    const std::size_t repeated = cursor_;
    cursor_ = 0;
    partial_ = 0;
    return repeated;
}

bool GuestQueue::is_full(std::size_t incoming) const {
    return bytes_ + kMessageHeaderSize + incoming > limits_.bytes || entries_.size() >= limits_.frames;
}

bool GuestQueue::is_settled(const Entry& entry, Clock::time_point now) const {
    if (!entry.repeatable || now - entry.sent_at > limits_.keep) {
        return true;
    }
    if (!entry.flow) {
        return false;
    }
    const Flow& flow = flows_.at(*entry.flow);
    if (!entry.end) {
        return flow.newest != entry.serial;
    }
    return flow.acknowledged && flow.acknowledged->at_or_after(*entry.end);
}

void GuestQueue::sweep(Clock::time_point now) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < cursor_; ++i) {
        if (is_settled(entries_[i], now)) {
            forget(entries_[i]);
        } else {
            if (kept != i) {
                entries_[kept] = std::move(entries_[i]);
            }
            ++kept;
        }
    }
    const auto begin = entries_.begin();
    entries_.erase(begin + static_cast<std::ptrdiff_t>(kept), begin + static_cast<std::ptrdiff_t>(cursor_));
    cursor_ = kept;
}

void GuestQueue::forget(const Entry& entry) {
    bytes_ -= entry.message.size();
    if (entry.flow) {
        const auto found = flows_.find(*entry.flow);
        if (--found->second.entries == 0) {
            flows_.erase(found);
        }
    }
}

}  // namespace understudy::network
