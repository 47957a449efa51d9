// Taps on a bridge in a network namespace that the test makes and that goes with it, and another station there.
#pragma once

#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "hypervisor/gateway/packet.hpp"
#include "hypervisor/network/link.hpp"
#include "tests/integration/hypervisor/network/namespace_guest.hpp"

namespace understudy::network::testing {

namespace asio = boost::asio;
using namespace std::chrono_literals;

inline constexpr MacAddress kMac = {0x52, 0x54, 0, 0xbb, 0, 1};
inline constexpr char kBridge[] = "br-test";

// Another station on the bridge: the bridge's own end, with a packet socket.
class Station {
  public:
    Station() : fd_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL))) {
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(if_nametoindex(kBridge));
        must(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
    }
    void send(const Frame& frame) {
        ASSERT_EQ(::send(fd_.get(), frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
    }
    // Sends the frame until it has arrived: a device that has just come up may swallow the first.
    void send_until(asio::io_context& io, const Frame& frame, const std::function<bool()>& arrived) {
        while (!arrived()) {
            send(frame);
            io.restart();
            io.run_for(5ms);
        }
    }
    // The next frame that came from the wire, of those that carry our test's MAC address; empty after `wait`.
    Frame receive(asio::io_context& io, std::chrono::milliseconds wait = 5s) {
        const auto deadline = std::chrono::steady_clock::now() + wait;
        while (std::chrono::steady_clock::now() < deadline) {
            io.restart();
            io.poll();
            pollfd entry{.fd = fd_.get(), .events = POLLIN, .revents = 0};
            if (::poll(&entry, 1, 1) == 0) {
                continue;
            }
            Frame frame(2048);
            sockaddr_ll from{};
            socklen_t size = sizeof from;
            const auto got =
                ::recvfrom(fd_.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
            if (got >= 14 && from.sll_pkttype != PACKET_OUTGOING &&
                std::memcmp(frame.data() + 6, kMac.data(), 6) == 0) {
                frame.resize(static_cast<std::size_t>(got));
                return frame;
            }
        }
        return {};
    }

  private:
    FileDescriptor fd_;
};

inline Frame frame_to_guest(std::byte filling) {
    Frame frame(60, filling);
    std::memcpy(frame.data(), kMac.data(), kMac.size());
    const MacAddress source = {0x02, 0, 0, 0, 0, 9};
    std::memcpy(frame.data() + 6, source.data(), source.size());
    frame[12] = std::byte{0x88};  // an experimental EtherType, so that the host's own stack does not mind it
    frame[13] = std::byte{0xb5};
    return frame;
}

inline Frame frame_from_guest(std::byte filling) {
    Frame frame = frame_to_guest(filling);
    std::memcpy(frame.data() + 6, kMac.data(), kMac.size());
    std::fill_n(frame.begin(), 6, std::byte{0xff});
    return frame;
}

// The bridge itself also says a thing or two (IGMP queries), which is none of a test's business.
inline bool is_ours(const Frame& frame) {
    return frame[12] == std::byte{0x88} && frame[13] == std::byte{0xb5};
}

inline Link::FrameHandler collect(std::vector<Frame>& received) {
    return [&received](Frame frame) {
        if (is_ours(frame)) {
            received.push_back(std::move(frame));
        }
    };
}

inline LinkConfig config(const std::string& endpoint) {
    return {.endpoint = endpoint, .vm = "kv", .mac = kMac, .ipv4_address = htonl(0x0a00020f)};
}

class TapTest : public ::testing::Test {
  protected:
    void SetUp() override {
        if (const auto reason = reason_to_skip(); !reason.empty()) {
            GTEST_SKIP() << reason;
        }
    }

    static void on_a_bridge(const std::function<void()>& test) {
        in_new_network_namespace([&test] {
            std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << "1\n";
            const FileDescriptor control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
            must(::ioctl(control.get(), SIOCBRADDBR, kBridge), "SIOCBRADDBR");
            configure(kBridge, nullptr, nullptr);
            test();
        });
    }
};

inline std::string error_of(const std::function<void()>& work) {
    try {
        work();
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

}  // namespace understudy::network::testing
