#include "hypervisor/gateway/fragments.hpp"

namespace understudy::network {
namespace {

constexpr std::uint8_t kProtocolTcp = 6;
constexpr std::size_t kMostBytes = 65'535;  // of a packet

}  // namespace

bool Fragments::admits(const Ipv4Packet& packet, Clock::time_point now) {
    if (!packet.more_fragments && packet.fragment_offset == 0) {
        return true;
    }
    if (packet.protocol == kProtocolTcp || (packet.more_fragments && packet.payload_size < kLeastBytes) ||
        packet.fragment_offset + packet.payload_size > kMostBytes) {
        return false;
    }
    std::erase_if(begun_, [now](const auto& entry) { return now - entry.second.since > kKept; });
    const Datagram datagram{packet.source, packet.destination, packet.id, packet.protocol};
    const auto found = begun_.find(datagram);
    if (packet.fragment_offset != (found == begun_.end() ? 0 : found->second.bytes)) {
        return false;
    }
    if (!packet.more_fragments) {
        begun_.erase(found);  // complete; one that begins with its end is no fragment
    } else if (found != begun_.end()) {
        found->second.bytes += packet.payload_size;
    } else if (begun_.size() < kMostDatagrams) {
        begun_.emplace(datagram, Begun{packet.payload_size, now});
    } else {
        return false;
    }
    return true;
}

}  // namespace understudy::network
