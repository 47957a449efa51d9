// A guest whose TCP/IP is Linux's: a network namespace with one tap in it. What a replica does with the guest's network
// card, the test does with the tap.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <linux/route.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/file_descriptor.hpp"
#include "hypervisor/network/link.hpp"

namespace understudy::network::testing {

inline std::string reason_to_skip() {
    if (::geteuid() != 0) {
        return "needs root: it makes network namespaces and taps";
    }
    if (::access("/dev/net/tun", R_OK | W_OK) != 0) {
        return "needs /dev/net/tun";
    }
    return {};
}

// Runs `work` on a thread of its own, in a new network namespace; the namespace lives as long as what `work` leaves
// open.
inline void in_new_network_namespace(const std::function<void()>& work) {
    std::thread([&work] {
        if (::unshare(CLONE_NEWNET) != 0) {
            throw Error::from_errno("unshare", errno);
        }
        work();
    }).join();
}

inline void must(int status, const char* what) {
    if (status < 0) {
        throw Error::from_errno(what, errno);
    }
}

inline sockaddr ipv4(const char* address) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    must(::inet_pton(AF_INET, address, &in.sin_addr), "inet_pton");
    sockaddr generic{};
    std::memcpy(&generic, &in, sizeof generic);
    return generic;
}

inline void configure(const std::string& device, const char* address, const char* netmask) {
    const FileDescriptor control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    device.copy(static_cast<char*>(request.ifr_name), IFNAMSIZ - 1);
    if (address != nullptr) {
        request.ifr_addr = ipv4(address);
        must(::ioctl(control.get(), SIOCSIFADDR, &request), "SIOCSIFADDR");
        request.ifr_addr = ipv4(netmask);
        must(::ioctl(control.get(), SIOCSIFNETMASK, &request), "SIOCSIFNETMASK");
    }
    must(::ioctl(control.get(), SIOCGIFFLAGS, &request), "SIOCGIFFLAGS");
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    must(::ioctl(control.get(), SIOCSIFFLAGS, &request), "SIOCSIFFLAGS");
}

// A tap in the current namespace: 10.0.2.15/24 with the given MAC address, the default route through 10.0.2.2. Its
// stack leaves to the tap what the format lets it.
inline FileDescriptor make_guest_tap(const MacAddress& mac, FrameFormat format = FrameFormat::plain) {
    std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << "1\n";
    FileDescriptor tap(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    ifreq request{};
    std::string("guest0").copy(static_cast<char*>(request.ifr_name), IFNAMSIZ - 1);
    const bool offloads = format == FrameFormat::with_offload_header;
    request.ifr_flags = offloads ? IFF_TAP | IFF_NO_PI | IFF_VNET_HDR : IFF_TAP | IFF_NO_PI;
    must(::ioctl(tap.get(), TUNSETIFF, &request), "TUNSETIFF");
    if (offloads) {
        int header = kOffloadHeaderBytes;
        must(::ioctl(tap.get(), TUNSETVNETHDRSZ, &header), "TUNSETVNETHDRSZ");
        must(::ioctl(tap.get(), TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6), "TUNSETOFFLOAD");
    }
    const FileDescriptor control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    std::memcpy(static_cast<void*>(request.ifr_hwaddr.sa_data), mac.data(), mac.size());
    must(::ioctl(control.get(), SIOCSIFHWADDR, &request), "SIOCSIFHWADDR");
    configure("lo", nullptr, nullptr);
    configure("guest0", "10.0.2.15", "255.255.255.0");
    rtentry route{};
    route.rt_dst = ipv4("0.0.0.0");
    route.rt_genmask = ipv4("0.0.0.0");
    route.rt_gateway = ipv4("10.0.2.2");
    route.rt_flags = RTF_UP | RTF_GATEWAY;
    must(::ioctl(control.get(), SIOCADDRT, &route), "SIOCADDRT");
    return tap;
}

// What a replica with a NIC does between its guest, which `tap` plays, and its link.
class GuestRelay {
  public:
    GuestRelay(FileDescriptor tap, Link& link) : tap_(std::move(tap)), link_(link) {}

    void to_guest(const Frame& frame) {
        longest_received_ = std::max(longest_received_, frame.size());
        [[maybe_unused]] const auto written = ::write(tap_.get(), frame.data(), frame.size());
    }
    // Sends what the guest has said; true if there was anything.
    bool from_guest() {
        std::vector<Frame> frames;
        Frame buffer(kMaxFrameBytes);
        for (ssize_t got = 0; (got = ::read(tap_.get(), buffer.data(), buffer.size())) > 0;) {
            frames.emplace_back(buffer.begin(), buffer.begin() + got);
            longest_sent_ = std::max(longest_sent_, frames.back().size());
        }
        link_.send(frames);
        return !frames.empty();
    }
    [[nodiscard]] int fd() const { return tap_.get(); }
    [[nodiscard]] std::size_t longest_sent() const { return longest_sent_; }
    [[nodiscard]] std::size_t longest_received() const { return longest_received_; }

  private:
    FileDescriptor tap_;
    Link& link_;
    std::size_t longest_sent_ = 0;
    std::size_t longest_received_ = 0;
};

}  // namespace understudy::network::testing
