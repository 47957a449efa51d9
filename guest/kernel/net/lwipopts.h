// lwIP's options for the guest kernel, each with its reason. What is not here is lwIP's default.
#pragma once

// --- Environment: one thread, raw API, memory from the kernel's heap ---
#define NO_SYS 1                // no operating system below: the kernel calls lwIP
#define SYS_LIGHTWEIGHT_PROT 0  // one thread: nothing to protect from
#define LWIP_SOCKET 0           // the kernel's own sockets stand on the raw API
#define LWIP_NETCONN 0
#define MEM_ALIGNMENT 16
#define MEM_LIBC_MALLOC 1  // one heap for all: connections are bounded by memory, not by pool sizes
#define MEMP_MEM_MALLOC 1
#define mem_clib_malloc understudy_allocate
#define mem_clib_calloc understudy_allocate_cleared
#define mem_clib_free understudy_free
#define MEMP_NUM_SYS_TIMEOUT 8  // more than lwIP's own; these come from a fixed array (platform.cpp)
#define LWIP_STATS 0
#define LWIP_NETIF_HOSTNAME 0

// --- Protocols ---
#define IP_DEFAULT_TTL 64  // Linux's
#define LWIP_IPV4 1
#define LWIP_IPV6 0
#define LWIP_ARP 1
#define LWIP_ICMP 1
#define LWIP_UDP 1
#define LWIP_TCP 1
#define LWIP_RAW 0
#define LWIP_DNS 0
#define LWIP_DHCP 0  // the boot image has the address
#define LWIP_BROADCAST_PING 0
#define ARP_QUEUEING 1  // a burst to a new neighbour must not lose all but its last packet
#define ARP_QUEUE_LEN 32
#define ARP_TABLE_SIZE 64
#define ETHARP_SUPPORT_STATIC_ENTRIES 0
#define IP_REASSEMBLY 1  // UDP datagrams up to 64 KiB
#define IP_FRAG 1
#define IP_REASS_MAX_PBUFS 256
#define IP_REASS_MAXAGE 15

// --- Loopback ---
#define LWIP_HAVE_LOOPIF 1
#define LWIP_NETIF_LOOPBACK 1         // the guest's own address leads back to it
#define LWIP_LOOPBACK_MAX_PBUFS 1024  // a bound; TCP stays below it by its window

// --- TCP ---
#define TCP_MSS 1460  // Ethernet without options
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 3
#define TCP_WND (256 * 1024)  // a stop may be some hundred microseconds away: enough for 10 Gb/s of them
#define TCP_SND_BUF (256 * 1024)
#define TCP_SND_QUEUELEN 1024  // pbufs queued; more than SND_BUF / MSS because small writes take one each
#define TCP_SNDLOWAT (0xFFFF - 4 * TCP_MSS - 1)  // writable again with this much room (lwIP's upper bound)
#define TCP_SNDQUEUELOWAT 512
#define MEMP_NUM_TCP_SEG TCP_SND_QUEUELEN  // checked against it, not used: segments come from the heap
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_BYTES TCP_WND
#define LWIP_TCP_SACK_OUT 1  // peers resend only what was lost
#define LWIP_TCP_TIMESTAMPS 0
#define LWIP_TCP_KEEPALIVE 1
#define TCP_LISTEN_BACKLOG 1  // half-open connections; established ones wait in the kernel's own queue
#define TCP_DEFAULT_LISTEN_BACKLOG 255
#define SO_REUSE 1  // SO_REUSEADDR
// Retransmission times count in ticks of twice this. lwIP's 250 ms would make the shortest retransmission time-out
// 1.5 s; with 50 ms it is 300 ms, near Linux's 200 ms, for 20 stops a second while connections are open.
#define TCP_TMR_INTERVAL 50
#define LWIP_TCP_RTO_TIME 1000  // RFC 6298's initial value
#define TCP_MSL 15000           // TIME_WAIT of 30 s, unless the client comes back (time_wait.cpp)
#define TCP_SYNMAXRTX 6
#define MEMP_NUM_TCP_PCB 65535

// --- Checksums: all in software, by the kernel's 64-bit sum; the NIC is a ring and offloads nothing ---
#define LWIP_CHKSUM understudy_checksum
#define LWIP_CHECKSUM_ON_COPY 0

// The compiler's memcpy, so that short constant sizes are moves.
#define MEMCPY(to, from, size) __builtin_memcpy(to, from, size)
#define SMEMCPY(to, from, size) __builtin_memcpy(to, from, size)

// Initial sequence numbers by RFC 6528, so that nobody off the path can guess them.
#define LWIP_HOOK_TCP_ISN understudy_initial_sequence
// A new connection need not wait for the end of an old one's TIME_WAIT.
#define LWIP_HOOK_IP4_INPUT(packet, interface) understudy_packet_received(packet)

#ifdef __cplusplus
extern "C" {
#endif
#include <stddef.h>
#include <stdint.h>
struct ip4_addr;
void* understudy_allocate(size_t size);
void* understudy_allocate_cleared(size_t count, size_t size);
void understudy_free(void* block);
uint16_t understudy_checksum(const void* bytes, int size);
uint32_t understudy_initial_sequence(const struct ip4_addr* local, uint16_t local_port, const struct ip4_addr* remote,
                                     uint16_t remote_port);
struct pbuf;
int understudy_packet_received(const struct pbuf* packet);
#ifdef __cplusplus
}
#endif
