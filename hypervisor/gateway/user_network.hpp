// User-mode networking: a private IPv4 network with the guest on it, joined to the host's sockets by libslirp. No root.
// The connections of the host's side live here, not in a replica, so they outlive every replica.
#pragma once

#include <netinet/in.h>
#include <poll.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::network {

// A port of the host that leads to a port of the guest. Addresses and ports in host byte order.
struct Forward {
    enum class Protocol : std::uint8_t { tcp, udp };
    Protocol protocol = Protocol::tcp;
    std::uint32_t host_address = INADDR_LOOPBACK;
    std::uint16_t host_port = 0;
    std::uint16_t guest_port = 0;

    bool operator==(const Forward&) const = default;
};

// "tcp:127.0.0.1:6379:6379": protocol, host address, host port, guest port. Throws understudy::Error.
[[nodiscard]] Forward parse_forward(std::string_view text);
[[nodiscard]] std::string to_string(const Forward& forward);

struct UserNetworkConfig {
    std::vector<Forward> forwards;
    // Whether the guest reaches the host's own loopback services at 10.0.2.2. UDP forwards from a loopback address need
    // it, because the guest's answers leave the same way.
    bool host_loopback = false;
};

// Host byte order. The network is 10.0.2.0/24, with a name server at 10.0.2.3.
constexpr std::uint32_t kGuestAddress = 0x0a00020f;    // 10.0.2.15
constexpr std::uint32_t kGatewayAddress = 0x0a000202;  // 10.0.2.2

// The network leaves some of the process's descriptors (kReservedDescriptors; of a limit that is low, a quarter) to
// others: neither the host's clients nor the guest can use them up. Of the rest the host's clients leave some to
// connections that the guest opens.
constexpr std::size_t kReservedDescriptors = 64;
constexpr std::size_t kGuestDescriptors = 128;
// More connections than this many descriptors make cost the loop too much time.
constexpr std::size_t kMostDescriptors = 8192;

// Single-threaded, driven by the owner's poll loop: fill(), poll, dispatch().
class UserNetwork {
  public:
    // Receives each frame for the guest, within fill(), dispatch() or input().
    using FrameSink = std::function<void(std::span<const std::byte>)>;
    using MayOpen = std::function<bool(std::uint16_t guest_port)>;

    // Throws understudy::Error when a port cannot be forwarded.
    UserNetwork(const UserNetworkConfig& config, FrameSink to_guest);
    ~UserNetwork();
    UserNetwork(const UserNetwork&) = delete;
    UserNetwork& operator=(const UserNetwork&) = delete;

    // Appends what the network waits for to `fds`; returns how long it can wait at most. Connections to a port of the
    // guest for which `may_open` says no, and all when descriptors run short, wait in the queues of the host's sockets.
    [[nodiscard]] std::chrono::milliseconds fill(std::vector<pollfd>& fds, const MayOpen& may_open);
    // Handles what poll() found in the entries that fill() appended; runs TCP's timers.
    void dispatch(std::span<const pollfd> fds, const MayOpen& may_open);
    // A frame from the guest; anything at all may be in it. What no network would carry is dropped (to the host's own
    // loopback; fragments.hpp; connections.hpp), and when descriptors run out, what would take another.
    void input(std::span<const std::byte> frame);

  private:
    struct Stack;
    std::unique_ptr<Stack> stack_;
};

}  // namespace understudy::network
