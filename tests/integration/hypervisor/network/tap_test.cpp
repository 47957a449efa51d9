// Taps of a primary and a backup on one bridge, all in a network namespace that the test makes and that goes with it.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "hypervisor/network/offload.hpp"
#include "tests/integration/hypervisor/network/tap_station.hpp"

namespace understudy::network::testing {
namespace {

TEST_F(TapTest, IsSilentUntilItSpeaksThenAnnouncesItselfAndCarriesFrames) {
    on_a_bridge([] {
        asio::io_context io;
        std::vector<Frame> received;
        const auto link = make_link(io, config("tap:tap-a,bridge=br-test"), collect(received));
        Station station;
        link->send(std::vector<Frame>{frame_from_guest(std::byte{1})});
        station.send(frame_to_guest(std::byte{2}));
        EXPECT_TRUE(station.receive(io, 50ms).empty());
        EXPECT_TRUE(received.empty());

        link->speak({.generation = {1}});
        const auto request = station.receive(io);
        ASSERT_TRUE(is_arp(request));
        EXPECT_EQ(request[21], std::byte{1});
        const auto reply = station.receive(io);
        ASSERT_TRUE(is_arp(reply));
        EXPECT_EQ(reply[21], std::byte{2});

        link->send(std::vector<Frame>{frame_from_guest(std::byte{3}), frame_from_guest(std::byte{4})});
        EXPECT_EQ(station.receive(io), frame_from_guest(std::byte{3}));
        EXPECT_EQ(station.receive(io), frame_from_guest(std::byte{4}));
        station.send_until(io, frame_to_guest(std::byte{5}), [&] { return !received.empty(); });
        for (const Frame& frame : received) {
            EXPECT_EQ(frame, frame_to_guest(std::byte{5}));
        }
    });
}

TEST_F(TapTest, FramesFollowTheReplicaThatSpeaksLast) {
    on_a_bridge([] {
        asio::io_context io;
        std::vector<Frame> at_primary;
        std::vector<Frame> at_backup;
        auto primary = make_link(io, config("tap:tap-a,bridge=br-test"), collect(at_primary));
        const auto backup = make_link(io, config("tap:tap-b,bridge=br-test"), collect(at_backup));
        Station station;
        primary->speak({.generation = {1}});
        EXPECT_TRUE(is_arp(station.receive(io)));
        station.send_until(io, frame_to_guest(std::byte{1}), [&] { return !at_primary.empty(); });
        EXPECT_TRUE(at_backup.empty());
        at_primary.clear();

        // The old tap stays up, as a stopped primary's would: what it said last must not keep the bridge's port.
        backup->speak({.generation = {1}, .won = true});
        EXPECT_TRUE(is_arp(station.receive(io)));
        station.send_until(io, frame_to_guest(std::byte{2}), [&] { return !at_backup.empty(); });
        EXPECT_EQ(at_backup.back(), frame_to_guest(std::byte{2}));
        for (const Frame& frame : at_primary) {
            EXPECT_NE(frame, frame_to_guest(std::byte{2}));
        }
    });
}

TEST_F(TapTest, ACrowdOfFramesWaitsForAReplicaThatIsBusy) {
    on_a_bridge([] {
        asio::io_context io;
        std::vector<Frame> received;
        const auto link = make_link(io, config("tap:tap-a,bridge=br-test"), collect(received));
        link->speak({.generation = {1}});
        Station station;
        station.send_until(io, frame_to_guest(std::byte{1}), [&] { return !received.empty(); });
        received.clear();
        constexpr std::size_t kCrowd = 4000;
        for (std::size_t i = 0; i < kCrowd; ++i) {
            station.send(frame_to_guest(std::byte{2}));
        }
        for (std::size_t before = received.size() + 1; received.size() != before;) {  // until no more comes
            before = received.size();
            io.restart();
            io.run_for(50ms);
        }
        EXPECT_GE(received.size(), kCrowd);
    });
}

// The bridge has the lowest address of its ports, of which the other is a NIC that stays.
TEST_F(TapTest, ATapDoesNotGiveTheBridgeItsAddress) {
    on_a_bridge([] {
        const MacAddress nic = {0xf2, 0xff, 0xff, 0xff, 0xff, 0xfe};
        const auto port = make_guest_tap(nic);
        const FileDescriptor control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        const auto request_for = [](const std::string& device) {
            ifreq request{};
            device.copy(static_cast<char*>(request.ifr_name), IFNAMSIZ - 1);
            return request;
        };
        auto join = request_for(kBridge);
        join.ifr_ifindex = static_cast<int>(if_nametoindex("guest0"));
        must(::ioctl(control.get(), SIOCBRADDIF, &join), "SIOCBRADDIF");
        asio::io_context io;
        std::vector<std::unique_ptr<Link>> taps;
        for (int i = 0; i < 8; ++i) {  // of addresses at random, one or the other would be the lowest
            taps.push_back(
                make_link(io, config("tap:tap-" + std::to_string(i) + ",bridge=br-test"), [](const Frame&) {}));
            auto bridge = request_for(kBridge);
            must(::ioctl(control.get(), SIOCGIFHWADDR, &bridge), "SIOCGIFHWADDR");
            EXPECT_EQ(std::memcmp(&bridge.ifr_hwaddr.sa_data, nic.data(), nic.size()), 0);
        }
    });
}

TEST_F(TapTest, VanishesWithItsReplica) {
    on_a_bridge([] {
        asio::io_context io;
        {
            const auto link = make_link(io, config("tap:tap-a,bridge=br-test"), [](const Frame&) {});
            link->speak({.generation = {1}});
            EXPECT_NE(if_nametoindex("tap-a"), 0U);
        }
        io.restart();
        io.run();
        EXPECT_EQ(if_nametoindex("tap-a"), 0U);
    });
}

TEST_F(TapTest, PausedItReadsNothing) {
    on_a_bridge([] {
        asio::io_context io;
        std::size_t received = 0;
        std::unique_ptr<Link> link;
        link = make_link(io, config("tap:tap-a,bridge=br-test"), [&](const Frame& frame) {
            if (is_ours(frame)) {
                ++received;
                link->pause_receive(true);
            }
        });
        Station station;
        link->speak({.generation = {1}});
        EXPECT_TRUE(is_arp(station.receive(io)));
        station.send_until(io, frame_to_guest(std::byte{1}), [&] { return received == 1; });
        for (int i = 0; i < 3; ++i) {
            station.send(frame_to_guest(std::byte{1}));
        }
        for (std::size_t expected = 1; expected <= 4; ++expected) {
            while (received < expected) {
                io.restart();
                io.run_for(1ms);
            }
            io.restart();
            io.run_for(10ms);
            EXPECT_EQ(received, expected);
            link->pause_receive(false);
        }
    });
}

sockaddr_in peer_address() {
    sockaddr_in address{};
    const sockaddr generic = ipv4("10.0.2.2");
    std::memcpy(&address, &generic, sizeof generic);
    address.sin_port = htons(7000);
    return address;
}

// A test that fails is to end: nobody waits longer than this for a peer.
void give_up_in_time(const FileDescriptor& socket) {
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    must(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
    must(::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), "SO_SNDTIMEO");
}

// Takes one connection and sends back all that it brings.
void echo(const FileDescriptor& listener) {
    const FileDescriptor connection(::accept(listener.get(), nullptr, nullptr));
    if (!connection) {
        return;
    }
    give_up_in_time(connection);
    std::vector<std::byte> buffer(1U << 20);
    for (ssize_t got = 0; (got = ::recv(connection.get(), buffer.data(), buffer.size(), 0)) > 0;) {
        for (ssize_t sent = 0; sent < got;) {
            const ssize_t n = ::send(connection.get(), buffer.data() + sent, static_cast<std::size_t>(got - sent), 0);
            if (n <= 0) {
                return;
            }
            sent += n;
        }
    }
}

// Says `bytes` bytes and hears them again; returns how many of them came back right.
std::size_t talk(const FileDescriptor& socket, std::size_t bytes) {
    const sockaddr_in address = peer_address();
    give_up_in_time(socket);
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return 0;
    }
    const auto value = [](std::size_t at) { return static_cast<std::byte>(at * 31 + at / 65521); };
    std::thread speaker([&] {
        std::vector<std::byte> piece(256U << 10);
        for (std::size_t done = 0; done < bytes; done += piece.size()) {
            for (std::size_t i = 0; i < piece.size(); ++i) {
                piece[i] = value(done + i);
            }
            if (::send(socket.get(), piece.data(), piece.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(piece.size())) {
                return;
            }
        }
    });
    std::vector<std::byte> buffer(1U << 20);
    std::size_t heard = 0;
    bool right = true;
    while (heard < bytes && right) {
        const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
        if (got <= 0) {
            break;
        }
        for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
            right = right && buffer[i] == value(heard + i);
        }
        heard += static_cast<std::size_t>(got);
    }
    ::shutdown(socket.get(), SHUT_RDWR);
    speaker.join();
    return right ? heard : 0;
}

struct Conversation {
    std::size_t heard = 0;  // bytes that came back right
    std::size_t longest_sent = 0;
    std::size_t longest_received = 0;
};

// A guest of Linux's TCP at a tap on the bridge talks to a server on the bridge.
Conversation converse(FrameFormat format, std::size_t bytes) {
    configure(kBridge, "10.0.2.2", "255.255.255.0");
    const FileDescriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = peer_address();
    must(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
    must(::listen(listener.get(), 1), "listen");
    give_up_in_time(listener);
    FileDescriptor tap;
    FileDescriptor socket;
    in_new_network_namespace([&] {
        tap = make_guest_tap(kMac, format);
        socket = FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    });

    asio::io_context io;
    LinkConfig link_config = config("tap:tap-a,bridge=br-test");
    link_config.format = format;
    GuestRelay* guest = nullptr;
    const auto link = make_link(io, link_config, [&](const Frame& frame) { guest->to_guest(frame); });
    GuestRelay relay(std::move(tap), *link);
    guest = &relay;
    link->speak({.generation = {1}});

    Conversation result;
    std::atomic<bool> over = false;
    std::thread server([&] { echo(listener); });
    std::thread client([&] {
        result.heard = talk(socket, bytes);
        over = true;
    });
    while (!over) {
        io.restart();
        const bool busy = io.poll() > 0;
        if (!relay.from_guest() && !busy) {
            pollfd entry{.fd = relay.fd(), .events = POLLIN, .revents = 0};
            ::poll(&entry, 1, 1);
        }
    }
    client.join();
    // The server hears of the end, though nobody relays it any more.
    ::shutdown(listener.get(), SHUT_RDWR);
    while (relay.from_guest() || io.poll() > 0) {
        io.restart();
    }
    server.join();
    result.longest_sent = relay.longest_sent();
    result.longest_received = relay.longest_received();
    return result;
}

// Each way TCP travels in pieces larger than the wire's, and the stream is the same.
TEST_F(TapTest, AnOffloadingGuestSpeaksTcpInLargePieces) {
    on_a_bridge([] {
        constexpr std::size_t kBytes = 16U << 20;
        const Conversation conversation = converse(FrameFormat::with_offload_header, kBytes);
        EXPECT_EQ(conversation.heard, kBytes);
        EXPECT_GT(conversation.longest_sent, 20'000U);
        EXPECT_GT(conversation.longest_received, 20'000U);
    });
}

TEST_F(TapTest, APlainGuestSpeaksTcpInPiecesOfTheWire) {
    on_a_bridge([] {
        constexpr std::size_t kBytes = 2U << 20;
        const Conversation conversation = converse(FrameFormat::plain, kBytes);
        EXPECT_EQ(conversation.heard, kBytes);
        EXPECT_LE(conversation.longest_sent, kMaxWireFrameBytes);
        EXPECT_LE(conversation.longest_received, kMaxWireFrameBytes);
    });
}

TEST_F(TapTest, OfAnOffloadingGuestOnlySoundFramesAreTaken) {
    on_a_bridge([] {
        asio::io_context io;
        LinkConfig link_config = config("tap:tap-a,bridge=br-test");
        link_config.format = FrameFormat::with_offload_header;
        std::vector<Frame> received;
        const auto link = make_link(io, link_config, [&](Frame frame) { received.push_back(std::move(frame)); });
        Station station;
        link->speak({.generation = {1}});
        EXPECT_TRUE(is_arp(station.receive(io)));
        EXPECT_TRUE(is_arp(station.receive(io)));

        Frame unknown = with_offload_header(frame_from_guest(std::byte{1}));
        unknown[1] = std::byte{3};
        Frame beyond = with_offload_header(frame_from_guest(std::byte{2}));
        write_offload_header(beyond, {kNeedsChecksum, GsoType::none, 0, 0, 59, 0, 0});
        link->send(std::vector<Frame>{unknown, beyond, Frame(20), with_offload_header(frame_from_guest(std::byte{3}))});
        EXPECT_EQ(station.receive(io), frame_from_guest(std::byte{3}));

        const auto is_the_frame = [](const Frame& frame) {
            return frame == with_offload_header(frame_to_guest(std::byte{5}));
        };
        station.send_until(io, frame_to_guest(std::byte{5}),
                           [&] { return std::ranges::any_of(received, is_the_frame); });
    });
}

TEST_F(TapTest, WhatIsMissingIsNamed) {
    on_a_bridge([] {
        asio::io_context io;
        const auto message = [&](const std::string& endpoint) {
            return error_of([&] { (void)make_link(io, config(endpoint), [](const Frame&) {}); });
        };
        EXPECT_NE(message("tap:tap-a,bridge=br-none").find("br-none"), std::string::npos);
        const auto taken = make_link(io, config("tap:tap-a"), [](const Frame&) {});
        EXPECT_NE(message("tap:tap-a").find("another process uses it"), std::string::npos);
    });
}

}  // namespace
}  // namespace understudy::network::testing
