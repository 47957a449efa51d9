// Connections in TIME_WAIT. lwIP keeps each for twice the segment lifetime, however many there are, and answers nothing
// that could become a new connection between the same two ports. A client that comes back with a port of its own that
// it used a moment ago, as one behind a busy gateway must, would not get in before that time is over.
#include <algorithm>
#include <cstdint>

#include "guest/kernel/control.hpp"
#include "guest/kernel/net/lwip.hpp"

namespace understudy::kernel::net {

namespace {

// How many may wait: the smallest of Linux's bounds (tcp_max_tw_buckets), and no more than a sixteenth of the memory.
std::size_t limit() {
    constexpr std::size_t kLinux = 4096;
    return std::min<std::size_t>(kLinux, boot().kernel_heap.size / 16 / sizeof(tcp_pcb));
}

// The header of a segment that asks for a new connection; null for everything else. Whole and valid it need not be:
// what is wrong with it lwIP finds later.
const tcp_hdr* connection_request(const pbuf* packet) {
    if (packet->len < sizeof(ip_hdr)) {
        return nullptr;
    }
    const auto* ip = static_cast<const ip_hdr*>(packet->payload);
    const std::uint16_t header_size = IPH_HL_BYTES(ip);
    if (IPH_PROTO(ip) != IP_PROTO_TCP || (IPH_OFFSET(ip) & PP_HTONS(IP_OFFMASK | IP_MF)) != 0 ||
        packet->len < header_size + sizeof(tcp_hdr)) {
        return nullptr;
    }
    const auto* tcp = reinterpret_cast<const tcp_hdr*>(static_cast<const std::uint8_t*>(packet->payload) + header_size);
    return (TCPH_FLAGS(tcp) & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN ? tcp : nullptr;
}

}  // namespace

}  // namespace understudy::kernel::net

// lwIP calls this for every packet that it receives, before it looks at it. Makes room for a new connection: forgets
// the one in TIME_WAIT between the same ports if the new one's first sequence number lies behind all of the old one's
// (RFC 1122, 4.2.2.13), and of too many those that have waited longest.
int understudy_packet_received(const pbuf* packet) {
    using namespace understudy::kernel::net;
    const tcp_hdr* request = connection_request(packet);
    if (request == nullptr) {
        return 0;
    }
    const auto* ip = static_cast<const ip_hdr*>(packet->payload);
    const std::uint16_t local_port = lwip_ntohs(request->dest);
    const std::uint16_t remote_port = lwip_ntohs(request->src);
    std::size_t left = limit();
    for (tcp_pcb* waiting = tcp_tw_pcbs; waiting != nullptr;) {  // the latest first
        tcp_pcb* next = waiting->next;
        const bool same = waiting->remote_port == remote_port && waiting->local_port == local_port &&
                          waiting->remote_ip.addr == ip->src.addr && waiting->local_ip.addr == ip->dest.addr;
        if (left == 0 || (same && TCP_SEQ_GT(lwip_ntohl(request->seqno), waiting->rcv_nxt))) {
            tcp_abort(waiting);  // in this state: frees it, and says nothing
        } else {
            --left;
        }
        waiting = next;
    }
    return 0;
}
