#include "hypervisor/gateway/user_network.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <slirp/libslirp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <unordered_map>

#include "common/descriptor_limit.hpp"
#include "common/error.hpp"
#include "common/file_descriptor.hpp"
#include "hypervisor/gateway/connections.hpp"
#include "hypervisor/gateway/fragments.hpp"
#include "hypervisor/gateway/packet.hpp"

namespace understudy::network {
namespace {

constexpr std::uint32_t kNetwork = 0x0a000200;     // 10.0.2.0
constexpr std::uint32_t kNetmask = 0xffffff00;     // /24
constexpr std::uint32_t kNameServer = 0x0a000203;  // 10.0.2.3
constexpr std::chrono::milliseconds kLongestWait{1000};
constexpr int kMostPasses = 64;
constexpr int kBacklog = 4096;  // the kernel takes no more than its own limit

in_addr in_network_order(std::uint32_t address) {
    return {.s_addr = htonl(address)};
}

bool is_loopback(std::uint32_t address) {
    return address >> 24 == 127;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port == 0) {
        return std::nullopt;
    }
    return port;
}

int to_poll(int slirp_events) {
    int events = 0;
    events |= (slirp_events & SLIRP_POLL_IN) != 0 ? POLLIN : 0;
    events |= (slirp_events & SLIRP_POLL_OUT) != 0 ? POLLOUT : 0;
    events |= (slirp_events & SLIRP_POLL_PRI) != 0 ? POLLPRI : 0;
    return events;  // ERR and HUP are always reported
}

int from_poll(int poll_events) {
    int events = 0;
    events |= (poll_events & POLLIN) != 0 ? SLIRP_POLL_IN : 0;
    events |= (poll_events & POLLOUT) != 0 ? SLIRP_POLL_OUT : 0;
    events |= (poll_events & POLLPRI) != 0 ? SLIRP_POLL_PRI : 0;
    events |= (poll_events & (POLLERR | POLLNVAL)) != 0 ? SLIRP_POLL_ERR : 0;
    events |= (poll_events & POLLHUP) != 0 ? SLIRP_POLL_HUP : 0;
    return events;
}

constexpr std::uint8_t kProtocolTcp = 6;

// Whether a frame from the guest may make libslirp open a socket: of TCP a SYN, of all else anything.
bool may_open_socket(std::span<const std::byte> frame, const Ipv4Packet& packet) {
    const auto tcp = parse_tcp(frame);
    return tcp ? tcp->opens_connection : packet.protocol != kProtocolTcp;
}

// What the host's connect() takes for itself. The host's loopback has a name in the network, if the guest may use it;
// libslirp knows of no other, and would connect to these as they stand.
bool is_host_itself(std::uint32_t address) {
    return is_loopback(address) || address >> 24 == 0;
}

// How many of the process's descriptors may be in use before nobody gets any more.
struct DescriptorBudget {
    std::size_t clients;
    std::size_t guest;
};

DescriptorBudget budget_of(std::size_t limit) {
    limit = std::min(limit, kMostDescriptors);
    const std::size_t guest = limit - std::min(kReservedDescriptors, limit / 4);
    return {.clients = guest - std::min(kGuestDescriptors, limit / 4), .guest = guest};
}

}  // namespace

Forward parse_forward(std::string_view text) {
    std::array<std::string_view, 4> fields;
    std::string_view rest = text;
    for (std::size_t i = 0; i < fields.size(); ++i) {
        const auto colon = i + 1 < fields.size() ? rest.find(':') : rest.size();
        if (colon == std::string_view::npos) {
            throw Error::format(
                "'{}' is no forward: write tcp:127.0.0.1:6379:6379 (protocol, host address, host port, "
                "guest port)",
                text);
        }
        fields[i] = rest.substr(0, colon);
        rest.remove_prefix(std::min(colon + 1, rest.size()));
    }
    Forward forward;
    if (fields[0] == "udp") {
        forward.protocol = Forward::Protocol::udp;
    } else if (fields[0] != "tcp") {
        throw Error::format("'{}': the protocol of a forward is tcp or udp", text);
    }
    in_addr address{};
    if (::inet_pton(AF_INET, std::string(fields[1]).c_str(), &address) != 1) {
        throw Error::format("'{}': '{}' is no IPv4 address", text, fields[1]);
    }
    forward.host_address = ntohl(address.s_addr);
    const auto host_port = parse_port(fields[2]);
    const auto guest_port = parse_port(fields[3]);
    if (!host_port || !guest_port) {
        throw Error::format("'{}': a port is a number from 1 to 65535", text);
    }
    forward.host_port = *host_port;
    forward.guest_port = *guest_port;
    return forward;
}

std::string to_string(const Forward& forward) {
    const std::uint32_t a = forward.host_address;
    return fmt::format("{}:{}.{}.{}.{}:{}:{}", forward.protocol == Forward::Protocol::tcp ? "tcp" : "udp", a >> 24,
                       (a >> 16) & 0xff, (a >> 8) & 0xff, a & 0xff, forward.host_port, forward.guest_port);
}

struct UserNetwork::Stack {
    FrameSink to_guest;
    std::vector<pollfd>* filling = nullptr;            // within fill()
    std::span<const pollfd> polled;                    // within dispatch()
    std::size_t first = 0;                             // of our entries in *filling
    const MayOpen* may_open = nullptr;                 // within fill()
    bool clients_wait = false;                         // within fill(), for want of descriptors
    std::unordered_map<int, std::uint16_t> listening;  // the host's sockets, and the guest's port of each
    FileDescriptor probe;
    DescriptorBudget budget = budget_of(descriptor_limit());
    Connections connections;
    Fragments fragments;
    std::vector<int> busy;  // within fill(): sockets of connections that are over, with something to take
    std::unique_ptr<Slirp, decltype(&slirp_cleanup)> slirp{nullptr, &slirp_cleanup};

    // Near enough: the kernel gives the lowest number that is free.
    [[nodiscard]] std::size_t descriptors_in_use() const {
        const FileDescriptor lowest(::fcntl(probe.get(), F_DUPFD_CLOEXEC, 0));
        return lowest ? static_cast<std::size_t>(lowest.get()) : kMostDescriptors;
    }

    static Stack& of(void* opaque) { return *static_cast<Stack*>(opaque); }

    static ssize_t send_packet(const void* bytes, std::size_t size, void* opaque) {
        const std::span frame(static_cast<const std::byte*>(bytes), size);
        of(opaque).connections.to_guest(frame);
        of(opaque).to_guest(frame);
        return static_cast<ssize_t>(size);
    }
    static std::int64_t clock_ns(void* /*opaque*/) {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
            .count();
    }
    static int add_poll(int fd, int events, void* opaque) {
        Stack& self = of(opaque);
        const auto door = self.listening.find(fd);
        if (door != self.listening.end() && (self.clients_wait || !(*self.may_open)(door->second))) {
            events = 0;
        }
        if (self.connections.is_over(fd)) {
            self.busy.push_back(fd);
        }
        self.filling->push_back({.fd = fd, .events = static_cast<short>(to_poll(events)), .revents = 0});
        return static_cast<int>(self.filling->size() - 1 - self.first);
    }
    static int found_events(int index, void* opaque) {
        const auto& polled = of(opaque).polled;
        const auto position = static_cast<std::size_t>(index);
        return position < polled.size() ? from_poll(polled[position].revents) : 0;
    }
    void pass(std::span<const pollfd> fds) {
        polled = fds;
        slirp_pollfds_poll(slirp.get(), 0, &Stack::found_events, this);
        polled = {};
    }

    // Of what poll() found leaves in `doors` who waits at a listening socket still.
    bool somebody_knocks(std::span<const pollfd> found, const MayOpen& open, std::vector<pollfd>& doors) const {
        bool knocks = false;
        if (doors.empty()) {
            doors.assign(found.begin(), found.end());
            for (pollfd& entry : doors) {
                entry.revents = listening.contains(entry.fd) ? entry.revents : std::int16_t{0};
            }
        }
        for (pollfd& entry : doors) {
            if (entry.revents != 0) {
                entry.revents = 0;
                if (open(listening.at(entry.fd)) && descriptors_in_use() < budget.clients) {
                    ::poll(&entry, 1, 0);
                }
                knocks = knocks || entry.revents != 0;
            }
        }
        return knocks;
    }

    // libslirp listens with a backlog of one, which makes the kernel turn away clients that come together, for a second
    // each. Its listening sockets become known when it asks to poll them.
    void find_listening(std::span<const Forward> forwards) {
        std::vector<pollfd> found;
        std::uint32_t timeout = 0;
        const MayOpen all = [](std::uint16_t) { return true; };
        may_open = &all;
        filling = &found;
        first = 0;
        slirp_pollfds_fill(slirp.get(), &timeout, &Stack::add_poll, this);
        filling = nullptr;
        may_open = nullptr;
        for (const pollfd& entry : found) {
            sockaddr_in bound{};
            socklen_t size = sizeof bound;
            if (::listen(entry.fd, kBacklog) != 0 ||
                ::getsockname(entry.fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
                continue;  // a socket for datagrams
            }
            const auto forward = std::ranges::find_if(forwards, [&bound](const Forward& f) {
                return f.protocol == Forward::Protocol::tcp && f.host_port == ntohs(bound.sin_port) &&
                       f.host_address == ntohl(bound.sin_addr.s_addr);
            });
            if (forward != forwards.end()) {
                listening.emplace(entry.fd, forward->guest_port);
            }
        }
    }

    // libslirp's own timers serve IPv6 only, which is off.
    static void* new_timer(SlirpTimerCb /*callback*/, void* /*callback_opaque*/, void* /*opaque*/) { std::abort(); }
    static void free_timer(void* /*timer*/, void* /*opaque*/) {}
    static void set_timer(void* /*timer*/, std::int64_t /*expire_ms*/, void* /*opaque*/) {}
    static void note_error(const char* /*message*/, void* /*opaque*/) {}
    // One that has a peer is a client's of the host; others are about to connect, or for datagrams.
    static void note_opened(int fd, void* opaque) {
        sockaddr_in peer{};
        socklen_t size = sizeof peer;
        if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0) {
            of(opaque).connections.accepted(fd, peer.sin_port);
        } else {
            of(opaque).connections.connecting(fd);
        }
    }
    static void note_closed(int fd, void* opaque) { of(opaque).connections.closed(fd); }
    // libslirp asks to poll no socket that has nothing to take.
    void end_what_is_over() {
        if (connections.any_over()) {
            for (const Frame& ending : connections.take_endings(busy)) {
                put_in(ending);
            }
        }
        busy.clear();
    }
    void put_in(std::span<const std::byte> frame) {
        slirp_input(slirp.get(), reinterpret_cast<const std::uint8_t*>(frame.data()), static_cast<int>(frame.size()));
    }
    static void note(void* /*opaque*/) {}
};

UserNetwork::UserNetwork(const UserNetworkConfig& config, FrameSink to_guest) : stack_(std::make_unique<Stack>()) {
    static constexpr SlirpCb kCallbacks = {.send_packet = &Stack::send_packet,
                                           .guest_error = &Stack::note_error,
                                           .clock_get_ns = &Stack::clock_ns,
                                           .timer_new = &Stack::new_timer,
                                           .timer_free = &Stack::free_timer,
                                           .timer_mod = &Stack::set_timer,
                                           .register_poll_fd = &Stack::note_opened,
                                           .unregister_poll_fd = &Stack::note_closed,
                                           .notify = &Stack::note,
                                           .init_completed = nullptr,
                                           .timer_new_opaque = nullptr};
    SlirpConfig slirp_config{};
    slirp_config.version = 3;
    slirp_config.in_enabled = true;
    slirp_config.vnetwork = in_network_order(kNetwork);
    slirp_config.vnetmask = in_network_order(kNetmask);
    slirp_config.vhost = in_network_order(kGatewayAddress);
    slirp_config.vdhcp_start = in_network_order(kGuestAddress);
    slirp_config.vnameserver = in_network_order(kNameServer);
    slirp_config.disable_host_loopback = !config.host_loopback;

    stack_->to_guest = std::move(to_guest);
    stack_->probe.reset(::eventfd(0, EFD_CLOEXEC));
    stack_->slirp.reset(slirp_new(&slirp_config, &kCallbacks, stack_.get()));
    if (!stack_->slirp) {
        throw Error("libslirp did not start");
    }
    for (const Forward& forward : config.forwards) {
        const bool udp = forward.protocol == Forward::Protocol::udp;
        if (udp && is_loopback(forward.host_address) && !config.host_loopback) {
            throw Error::format("forward {}: a UDP forward from a loopback address needs --host-loopback",
                                to_string(forward));
        }
        if (slirp_add_hostfwd(stack_->slirp.get(), udp ? 1 : 0, in_network_order(forward.host_address),
                              forward.host_port, in_network_order(kGuestAddress), forward.guest_port) != 0) {
            throw Error::from_errno("cannot forward " + to_string(forward), errno);
        }
    }
    stack_->find_listening(config.forwards);
}

UserNetwork::~UserNetwork() = default;

std::chrono::milliseconds UserNetwork::fill(std::vector<pollfd>& fds, const MayOpen& may_open) {
    auto timeout = static_cast<std::uint32_t>(kLongestWait.count());
    stack_->filling = &fds;
    stack_->first = fds.size();
    stack_->may_open = &may_open;
    stack_->clients_wait = stack_->descriptors_in_use() >= stack_->budget.clients;
    slirp_pollfds_fill(stack_->slirp.get(), &timeout, &Stack::add_poll, stack_.get());
    stack_->filling = nullptr;
    stack_->may_open = nullptr;
    stack_->end_what_is_over();
    return std::chrono::milliseconds(timeout);
}

void UserNetwork::dispatch(std::span<const pollfd> fds, const MayOpen& may_open) {
    stack_->pass(fds);
    // libslirp takes one connection from a listening socket in a pass, and a look at all sockets costs far more than
    // one.
    std::vector<pollfd> doors;
    for (int passes = 1; passes < kMostPasses && stack_->somebody_knocks(fds, may_open, doors); ++passes) {
        stack_->pass(doors);
    }
}

void UserNetwork::input(std::span<const std::byte> frame) {
    if (const auto packet = parse_ipv4(frame)) {
        if (is_host_itself(ntohl(packet->destination)) || !stack_->fragments.admits(*packet, Fragments::Clock::now()) ||
            (packet->protocol == kProtocolTcp && !parse_tcp(frame)) ||
            (may_open_socket(frame, *packet) && stack_->descriptors_in_use() >= stack_->budget.guest) ||
            !stack_->connections.from_guest(frame)) {
            return;
        }
    } else if (!is_arp(frame)) {
        return;
    }
    stack_->put_in(frame);
    stack_->connections.put_in();
}

}  // namespace understudy::network
