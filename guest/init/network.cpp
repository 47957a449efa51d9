#include "guest/init/network.hpp"

#include <arpa/inet.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "guest/init/system.hpp"

namespace understudy::init {
namespace {

constexpr const char* kInterface = "eth0";
constexpr const char* kLoopback = "lo";

// A socket to configure interfaces with.
class Control {
  public:
    explicit Control(int family) : descriptor_(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}
    ~Control() { close(descriptor_); }
    Control(const Control&) = delete;
    Control& operator=(const Control&) = delete;
    Control(Control&&) = delete;
    Control& operator=(Control&&) = delete;

    bool request(unsigned long number, void* argument) const { return ioctl(descriptor_, number, argument) == 0; }

  private:
    int descriptor_;
};

ifreq named(const char* interface) {
    ifreq request{};
    std::strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
    return request;
}

bool bring_up(const char* interface) {
    const Control control(AF_INET);
    ifreq request = named(interface);
    if (!control.request(SIOCGIFFLAGS, &request)) {
        return false;
    }
    request.ifr_flags |= IFF_UP;
    return control.request(SIOCSIFFLAGS, &request);
}

sockaddr ipv4(in_addr address) {
    sockaddr_in typed{};
    typed.sin_family = AF_INET;
    typed.sin_addr = address;
    sockaddr plain{};
    std::memcpy(&plain, &typed, sizeof plain);
    return plain;
}

bool add_ipv4(in_addr address, int bits) {
    const Control control(AF_INET);
    ifreq request = named(kInterface);
    request.ifr_addr = ipv4(address);
    if (bits < 0 || bits > 32 || !control.request(SIOCSIFADDR, &request)) {
        return false;
    }
    request.ifr_netmask = ipv4({htonl(bits == 0 ? 0 : ~0U << (32 - bits))});
    return control.request(SIOCSIFNETMASK, &request);
}

// struct in6_ifreq of linux/ipv6.h, which cannot be included beside net/if.h.
struct Ipv6Request {
    in6_addr address;
    std::uint32_t prefix_bits;
    int interface;
};

bool add_ipv6(const in6_addr& address, int bits) {
    const Control control(AF_INET6);
    Ipv6Request request{};
    request.address = address;
    request.prefix_bits = static_cast<std::uint32_t>(bits);
    request.interface = static_cast<int>(if_nametoindex(kInterface));
    return control.request(SIOCSIFADDR, &request);
}

bool add_address(const std::string& text) {
    const std::size_t slash = text.find('/');
    const std::string address = text.substr(0, slash);
    const int bits = slash == std::string::npos ? -1 : std::atoi(text.c_str() + slash + 1);
    if (in_addr four{}; inet_pton(AF_INET, address.c_str(), &four) == 1) {
        return add_ipv4(four, bits < 0 ? 32 : bits);
    }
    if (in6_addr six{}; inet_pton(AF_INET6, address.c_str(), &six) == 1) {
        return add_ipv6(six, bits < 0 ? 128 : bits);
    }
    errno = EINVAL;
    return false;
}

bool add_gateway(const std::string& text) {
    if (in_addr four{}; inet_pton(AF_INET, text.c_str(), &four) == 1) {
        rtentry route{};
        route.rt_gateway = ipv4(four);
        route.rt_dst = ipv4({});
        route.rt_genmask = ipv4({});
        route.rt_flags = RTF_UP | RTF_GATEWAY;
        return Control(AF_INET).request(SIOCADDRT, &route);
    }
    if (in6_addr six{}; inet_pton(AF_INET6, text.c_str(), &six) == 1) {
        in6_rtmsg route{};
        route.rtmsg_gateway = six;
        route.rtmsg_metric = 1;
        route.rtmsg_flags = RTF_UP | RTF_GATEWAY;
        route.rtmsg_ifindex = static_cast<int>(if_nametoindex(kInterface));
        return Control(AF_INET6).request(SIOCADDRT, &route);
    }
    errno = EINVAL;
    return false;
}

// Duplicate address detection would hold IPv6 addresses back for a second; the segment is known to have one guest.
void skip_duplicate_address_detection() {
    const std::string path = std::string("/proc/sys/net/ipv6/conf/") + kInterface + "/accept_dad";
    if (std::FILE* const file = std::fopen(path.c_str(), "we")) {
        std::fputs("0", file);
        std::fclose(file);
    }
}

void write_file(const char* path, const std::string& text) {
    std::FILE* const file = std::fopen(path, "we");
    if (file == nullptr || std::fputs(text.c_str(), file) < 0) {
        complain(std::string("cannot write ") + path);
    }
    if (file != nullptr) {
        std::fclose(file);
    }
}

void write_names(const Settings& settings) {
    if (sethostname(settings.hostname.data(), settings.hostname.size()) != 0) {
        complain("cannot set the host name " + settings.hostname);
    }
    if (access("/etc", F_OK) != 0) {
        return;
    }
    write_file("/etc/hostname", settings.hostname + '\n');
    write_file("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 " + settings.hostname + "\n::1 localhost ip6-localhost\n");
    if (!settings.nameservers.empty()) {
        std::string text;
        for (const std::string& server : settings.nameservers) {
            text += "nameserver " + server + '\n';
        }
        unlink("/etc/resolv.conf");  // a link to a service's file, in some images
        write_file("/etc/resolv.conf", text);
    }
}

}  // namespace

void prepare_network(const Settings& settings) {
    write_names(settings);
    if (!bring_up(kLoopback)) {
        complain("cannot bring up lo");
    }
    if (settings.addresses.empty() && if_nametoindex(kInterface) == 0) {
        return;
    }
    skip_duplicate_address_detection();
    if (!bring_up(kInterface)) {
        complain(std::string("cannot bring up ") + kInterface);
    }
    for (const std::string& address : settings.addresses) {
        if (!add_address(address)) {
            complain("cannot take the address " + address);
        }
    }
    for (const std::string& gateway : settings.gateways) {
        if (!add_gateway(gateway)) {
            complain("cannot take the gateway " + gateway);
        }
    }
}

}  // namespace understudy::init
