#include "guest/kernel/net/interface.hpp"

#include <cstring>

#include "guest/kernel/control.hpp"
#include "guest/kernel/heap.hpp"
#include "guest/kernel/net/lwip.hpp"
#include "guest/kernel/net/platform.hpp"
#include "guest/kernel/panic.hpp"

namespace understudy::kernel::net {

namespace {

constexpr std::uint16_t kControlFrame = 128;

netif ethernet;
Nanoseconds deadline = kNever;

abi::FrameSlot& slot_of(const abi::Region& ring, std::uint64_t index) {
    const std::uint64_t slots = ring.size / abi::kFrameSlotSize;
    return reinterpret_cast<abi::FrameSlot*>(ring.base)[index % slots];
}

// lwIP's way out: the frame into the next slot of the transmit ring; when it is full the monitor empties it.
err_t transmit(netif* /*interface*/, pbuf* frame) {
    const abi::Region ring = boot().transmit_ring;
    volatile abi::RingIndices& indices = control().transmit;
    if (frame->tot_len > abi::kMaxFrame) {
        return ERR_BUF;
    }
    if (indices.produced - indices.consumed == ring.size / abi::kFrameSlotSize) {
        stop<abi::kPortFlush>();
    }
    abi::FrameSlot& slot = slot_of(ring, indices.produced);
    slot.length = frame->tot_len;
    pbuf_copy_partial(frame, slot.bytes, frame->tot_len, 0);
    asm volatile("" : : : "memory");  // the frame is whole before it is there
    indices.produced = indices.produced + 1;
    return ERR_OK;
}

void receive_frames() {
    const abi::Region ring = boot().receive_ring;
    volatile abi::RingIndices& indices = control().receive;
    while (indices.consumed != indices.produced) {
        const abi::FrameSlot& slot = slot_of(ring, indices.consumed);
        const auto length = static_cast<std::uint16_t>(slot.length);
        // Without memory the frame is lost, as on any network: its sender will repeat it. While memory is low only what
        // is too short for much data gets in: what makes, acknowledges and ends connections, and so frees memory.
        const bool welcome = length <= kControlFrame || !heap().low();
        if (pbuf* frame = !welcome ? nullptr : pbuf_alloc(PBUF_RAW, length, PBUF_RAM)) {
            pbuf_take(frame, slot.bytes, length);
            if (ethernet.input(frame, &ethernet) != ERR_OK) {
                pbuf_free(frame);
            }
        }
        indices.consumed = indices.consumed + 1;
    }
}

bool deliver_loopback() {
    bool any = false;
    for (netif* interface = netif_list; interface != nullptr; interface = interface->next) {
        while (interface->loop_first != nullptr) {
            netif_poll(interface);
            any = true;
        }
    }
    return any;
}

void note_deadline() {
    const std::uint32_t sleep_ms = sys_timeouts_sleeptime();
    deadline = sleep_ms == SYS_TIMEOUTS_SLEEPTIME_INFINITE ? kNever : (now() / kMillisecond + sleep_ms) * kMillisecond;
}

err_t start_ethernet(netif* interface) {
    interface->name[0] = 'e';
    interface->name[1] = 't';
    interface->mtu = 1500;
    interface->hwaddr_len = ETH_HWADDR_LEN;
    std::memcpy(interface->hwaddr, boot().mac, ETH_HWADDR_LEN);
    interface->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
    interface->output = etharp_output;
    interface->linkoutput = transmit;
    return ERR_OK;
}

}  // namespace

void initialize() {
    seed_random();
    lwip_init();
    if (boot().has_network != 0) {
        const ip4_addr_t address{boot().ipv4_address};
        const ip4_addr_t netmask{boot().ipv4_netmask};
        const ip4_addr_t gateway{boot().ipv4_gateway};
        if (netif_add(&ethernet, &address, &netmask, &gateway, nullptr, start_ethernet, ethernet_input) == nullptr) {
            panic("lwIP refuses the network interface");
        }
        netif_set_default(&ethernet);
        netif_set_up(&ethernet);  // announces the address (gratuitous ARP)
    }
    note_deadline();
}

void process() {
    do {
        if (boot().has_network != 0) {
            receive_frames();
        }
        sys_check_timeouts();
    } while (deliver_loopback());
    note_deadline();
}

void settle() {
    deliver_loopback();
    note_deadline();
}

Nanoseconds next_deadline() {
    return deadline;
}

bool all_sent() {
    for (const tcp_pcb* connection = tcp_active_pcbs; connection != nullptr; connection = connection->next) {
        if (connection->unsent != nullptr || connection->unacked != nullptr) {
            return false;
        }
    }
    return true;
}

bool is_local(std::uint32_t address) {
    const ip4_addr_t wanted{address};
    return ip4_addr_isloopback(&wanted) || (boot().has_network != 0 && address == boot().ipv4_address);
}

std::uint32_t source_for(std::uint32_t peer) {
    const ip4_addr_t destination{peer};
    if (ip4_addr_isloopback(&destination)) {
        return peer;
    }
    const netif* route = ip4_route(&destination);
    return route == nullptr ? 0 : netif_ip4_addr(route)->addr;
}

}  // namespace understudy::kernel::net
