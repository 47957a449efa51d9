#include "hypervisor/gateway/openings.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <iterator>

namespace understudy::network {
namespace {

// Ports and address in network byte order, as they come.
std::uint64_t key_of(std::uint32_t peer_address, std::uint16_t peer_port, std::uint16_t guest_port) {
    return (static_cast<std::uint64_t>(peer_address) << 32) | (static_cast<std::uint64_t>(peer_port) << 16) |
           guest_port;
}

}  // namespace

void Openings::to_guest(std::span<const std::byte> frame, Clock::time_point now) {
    const auto tcp = parse_tcp(frame);
    if (!tcp || !tcp->opens_connection || tcp->acknowledged) {
        return;
    }
    const std::uint16_t port = ntohs(tcp->destination_port);
    const auto [opening, fresh] =
        waiting_.try_emplace(key_of(tcp->source_address, tcp->source_port, tcp->destination_port));
    per_port_[port] += fresh ? 1 : 0;
    if (fresh || opening->second.end != tcp->end) {  // libslirp's own repetition changes nothing
        opening->second = {Frame(frame.begin(), frame.end()), tcp->end, port, now, now + kFirstPause, kFirstPause};
    }
}

void Openings::from_guest(std::span<const std::byte> frame) {
    if (waiting_.empty()) {
        return;
    }
    const auto tcp = parse_tcp(frame);
    if (!tcp) {
        return;
    }
    const auto found = waiting_.find(key_of(tcp->destination_address, tcp->destination_port, tcp->source_port));
    if (found != waiting_.end()) {
        forget(found);
    }
}

bool Openings::room(std::uint16_t guest_port) const {
    const auto found = per_port_.find(guest_port);
    return found == per_port_.end() || found->second < kMaxPerPort;
}

std::optional<std::chrono::milliseconds> Openings::until_due(Clock::time_point now) const {
    if (waiting_.empty()) {
        return std::nullopt;
    }
    const auto soonest =
        std::ranges::min_element(waiting_, {}, [](const auto& entry) { return entry.second.due; })->second.due;
    return std::max(std::chrono::milliseconds(0), std::chrono::ceil<std::chrono::milliseconds>(soonest - now));
}

void Openings::repeat_due(Clock::time_point now, const std::function<void(std::span<const std::byte>)>& repeat) {
    for (auto next = waiting_.begin(); next != waiting_.end();) {
        const auto current = next++;
        Opening& opening = current->second;
        if (now - opening.since > kPatience) {
            forget(current);
        } else if (opening.due <= now) {
            opening.pause = std::min(2 * opening.pause, kLongestPause);
            opening.due = now + opening.pause;
            repeat(opening.syn);
        }
    }
}

void Openings::forget(std::unordered_map<std::uint64_t, Opening>::iterator opening) {
    const auto count = per_port_.find(opening->second.guest_port);
    if (--count->second == 0) {
        per_port_.erase(count);
    }
    waiting_.erase(opening);
}

}  // namespace understudy::network
