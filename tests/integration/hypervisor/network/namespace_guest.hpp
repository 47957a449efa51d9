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

#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

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

// A tap in the current namespace: 10.0.2.15/24 with the given MAC address, the default route through 10.0.2.2.
inline FileDescriptor make_guest_tap(const MacAddress& mac) {
    std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << "1\n";
    FileDescriptor tap(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    ifreq request{};
    std::strcpy(static_cast<char*>(request.ifr_name), "guest0");
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    must(::ioctl(tap.get(), TUNSETIFF, &request), "TUNSETIFF");
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

}  // namespace understudy::network::testing
