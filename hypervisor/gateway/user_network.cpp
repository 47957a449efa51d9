#include "hypervisor/gateway/user_network.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <slirp/libslirp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "common/error.hpp"

namespace understudy::network {
namespace {

constexpr std::uint32_t kNetwork = 0x0a000200;     // 10.0.2.0
constexpr std::uint32_t kNetmask = 0xffffff00;     // /24
constexpr std::uint32_t kNameServer = 0x0a000203;  // 10.0.2.3
constexpr std::chrono::milliseconds kLongestWait{1000};

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

// libslirp listens with a backlog of one, which makes the kernel turn away clients that come together, for a second
// each. Its listening sockets become known when it asks to poll them.
int widen_backlog(int fd, int /*events*/, void* /*opaque*/) {
    constexpr int kBacklog = 512;
    int listening = 0;
    socklen_t size = sizeof listening;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0) {
        ::listen(fd, kBacklog);
    }
    return 0;
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
    std::vector<pollfd>* filling = nullptr;  // within fill()
    std::span<const pollfd> polled;          // within dispatch()
    std::size_t first = 0;                   // of our entries in *filling
    std::unique_ptr<Slirp, decltype(&slirp_cleanup)> slirp{nullptr, &slirp_cleanup};

    static Stack& of(void* opaque) { return *static_cast<Stack*>(opaque); }

    static ssize_t send_packet(const void* bytes, std::size_t size, void* opaque) {
        of(opaque).to_guest({static_cast<const std::byte*>(bytes), size});
        return static_cast<ssize_t>(size);
    }
    static std::int64_t clock_ns(void* /*opaque*/) {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
            .count();
    }
    static int add_poll(int fd, int events, void* opaque) {
        Stack& self = of(opaque);
        self.filling->push_back({.fd = fd, .events = static_cast<short>(to_poll(events)), .revents = 0});
        return static_cast<int>(self.filling->size() - 1 - self.first);
    }
    static int found_events(int index, void* opaque) {
        const auto& polled = of(opaque).polled;
        const auto position = static_cast<std::size_t>(index);
        return position < polled.size() ? from_poll(polled[position].revents) : 0;
    }
    // libslirp's own timers serve IPv6 only, which is off.
    static void* new_timer(SlirpTimerCb /*callback*/, void* /*callback_opaque*/, void* /*opaque*/) { std::abort(); }
    static void free_timer(void* /*timer*/, void* /*opaque*/) {}
    static void set_timer(void* /*timer*/, std::int64_t /*expire_ms*/, void* /*opaque*/) {}
    static void note_error(const char* /*message*/, void* /*opaque*/) {}
    static void note_fd(int /*fd*/, void* /*opaque*/) {}
    static void note(void* /*opaque*/) {}
};

UserNetwork::UserNetwork(const UserNetworkConfig& config, FrameSink to_guest) : stack_(std::make_unique<Stack>()) {
    static constexpr SlirpCb kCallbacks = {.send_packet = &Stack::send_packet,
                                           .guest_error = &Stack::note_error,
                                           .clock_get_ns = &Stack::clock_ns,
                                           .timer_new = &Stack::new_timer,
                                           .timer_free = &Stack::free_timer,
                                           .timer_mod = &Stack::set_timer,
                                           .register_poll_fd = &Stack::note_fd,
                                           .unregister_poll_fd = &Stack::note_fd,
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
    std::uint32_t timeout = 0;
    slirp_pollfds_fill(stack_->slirp.get(), &timeout, &widen_backlog, nullptr);
}

UserNetwork::~UserNetwork() = default;

std::chrono::milliseconds UserNetwork::fill(std::vector<pollfd>& fds) {
    auto timeout = static_cast<std::uint32_t>(kLongestWait.count());
    stack_->filling = &fds;
    stack_->first = fds.size();
    slirp_pollfds_fill(stack_->slirp.get(), &timeout, &Stack::add_poll, stack_.get());
    stack_->filling = nullptr;
    return std::chrono::milliseconds(timeout);
}

void UserNetwork::dispatch(std::span<const pollfd> fds) {
    stack_->polled = fds;
    slirp_pollfds_poll(stack_->slirp.get(), 0, &Stack::found_events, stack_.get());
    stack_->polled = {};
}

void UserNetwork::input(std::span<const std::byte> frame) {
    slirp_input(stack_->slirp.get(), reinterpret_cast<const std::uint8_t*>(frame.data()),
                static_cast<int>(frame.size()));
}

}  // namespace understudy::network
