// libslirp as the guest meets it, frame by frame.
#include "hypervisor/gateway/user_network.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <filesystem>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "common/internet_checksum.hpp"
#include "hypervisor/gateway/endpoint.hpp"
#include "hypervisor/gateway/packet.hpp"
#include "tests/unit/hypervisor/gateway/fake_replica.hpp"
#include "tests/unit/hypervisor/gateway/frames.hpp"
#include "tests/unit/hypervisor/gateway/running_gateway.hpp"

namespace understudy::network {
namespace {

using testing::kAck;
using testing::kFin;
using testing::kGuestMac;
using testing::kGuestPort;
using testing::kSyn;
using testing::make_frame;

class Network {
  public:
    explicit Network(const UserNetworkConfig& config = {})
        : network_(config,
                   [this](std::span<const std::byte> frame) { frames_.emplace_back(frame.begin(), frame.end()); }) {
        network_.input(gratuitous_arp(ArpForm::request, kGuestMac, htonl(kGuestAddress)));
    }

    void input(std::span<const std::byte> frame) { network_.input(frame); }
    void turn(int milliseconds = 0) {
        const UserNetwork::MayOpen may_open = [](std::uint16_t) { return true; };
        std::vector<pollfd> fds;
        (void)network_.fill(fds, may_open);
        ::poll(fds.data(), fds.size(), milliseconds);
        network_.dispatch(fds, may_open);
    }
    // The next frame of the kind that comes; none within seconds: nothing.
    std::optional<Frame> next(const std::function<bool(const TcpSegment&)>& wanted) {
        for (int turns = 0; turns < 300; ++turns) {
            while (!frames_.empty()) {
                const Frame frame = std::move(frames_.front());
                frames_.erase(frames_.begin());
                const auto tcp = parse_tcp(frame);
                if (tcp && wanted(*tcp)) {
                    return frame;
                }
            }
            turn(10);
        }
        return std::nullopt;
    }

  private:
    std::vector<Frame> frames_;
    UserNetwork network_;
};

std::uint16_t port_of(const ListeningSocket& host) {
    const auto text = host.text();
    return static_cast<std::uint16_t>(std::stoi(text.substr(text.rfind(':') + 1)));
}

// `receives`: how much its socket takes that nobody reads, roughly; 0: as usual.
FileDescriptor client_of(std::uint16_t port, int receives = 0) {
    FileDescriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (receives > 0) {
        ::setsockopt(client.get(), SOL_SOCKET, SO_RCVBUF, &receives, sizeof receives);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return client;
}

std::size_t open_descriptors() {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator()));
}

// A guest that accepts what comes, and closes when the other side has.
class Guest {
  public:
    explicit Guest(Network& network) : network_(network) {}

    void accept() {
        const auto syn = network_.next([](const TcpSegment& tcp) { return tcp.opens_connection; });
        ASSERT_TRUE(syn) << "a client that comes is let in";
        peer_port_ = ntohs(parse_tcp(*syn)->source_port);
        peer_next_ = parse_tcp(*syn)->end.value;
        say(kSyn | kAck);
        ++next_;
    }
    void say(unsigned flags, std::string_view data = {}) {
        network_.input(testing::finished(make_frame({.from_guest = true,
                                                     .peer_port = peer_port_,
                                                     .sequence = next_,
                                                     .acknowledged = peer_next_,
                                                     .flags = static_cast<std::uint8_t>(flags),
                                                     .data = data})));
        next_ += static_cast<std::uint32_t>(data.size());
    }
    // As much as is taken; how much that was.
    std::size_t say_all() {
        const std::string piece(1400, 'x');
        const std::uint32_t begin = next_;
        for (;;) {
            say(kAck, piece);
            const auto answer = network_.next([](const TcpSegment& tcp) { return tcp.acknowledged.has_value(); });
            const std::uint32_t acknowledged = answer ? parse_tcp(*answer)->acknowledged->value : next_;
            if (acknowledged != next_) {
                next_ = acknowledged;
                return next_ - begin;
            }
        }
    }
    void hear_end() {
        const auto end = network_.next([](const TcpSegment& tcp) { return tcp.closes_direction; });
        ASSERT_TRUE(end);
        peer_next_ = parse_tcp(*end)->end.value;
        say(kAck);
    }
    void end() {
        say(kFin | kAck);
        ++next_;
        ASSERT_TRUE(network_.next([this](const TcpSegment& tcp) { return tcp.acknowledged == Sequence{next_}; }));
    }

  private:
    Network& network_;
    std::uint16_t peer_port_ = 0;
    std::uint32_t next_ = 1000;
    std::uint32_t peer_next_ = 0;
};

TEST(UserNetwork, AConnectionThatBothHaveClosedTakesNoDescriptor) {
    const std::uint16_t port = testing::free_port();
    Network network({.forwards = {{.host_port = port, .guest_port = kGuestPort}}});
    const std::size_t before = open_descriptors();
    for (int i = 0; i < 200; ++i) {
        FileDescriptor client = client_of(port);
        Guest guest(network);
        guest.accept();
        client.reset();
        guest.hear_end();
        guest.end();
        network.turn();
    }
    EXPECT_LE(open_descriptors(), before + 1);
}

// A client may have said all that it wants to, and read slowly.
TEST(UserNetwork, AConnectionThatIsOverHasDeliveredEverything) {
    const std::uint16_t port = testing::free_port();
    Network network({.forwards = {{.host_port = port, .guest_port = kGuestPort}}});
    const std::size_t before = open_descriptors();
    const FileDescriptor client = client_of(port, 4096);
    Guest guest(network);
    guest.accept();
    ASSERT_EQ(::shutdown(client.get(), SHUT_WR), 0);
    guest.hear_end();
    const std::size_t said = guest.say_all();
    guest.end();
    for (int i = 0; i < 20; ++i) {
        network.turn();
    }
    std::vector<char> buffer(1U << 16U);
    std::size_t heard = 0;
    ssize_t got = 0;
    while ((got = ::recv(client.get(), buffer.data(), buffer.size(), MSG_DONTWAIT)) != 0) {
        heard += got > 0 ? static_cast<std::size_t>(got) : 0;
        network.turn(1);
    }
    EXPECT_EQ(heard, said);
    network.turn();
    EXPECT_LE(open_descriptors(), before + 1) << "the client's own";
}

// A datagram's fragments come to the host together; those of a connection do not come to anything.
TEST(UserNetwork, NoConnectionComesInFragments) {
    const ListeningSocket host(parse_endpoint("127.0.0.1:0"));
    Network network({.forwards = {}, .host_loopback = true});
    const Frame whole = testing::opening(20'000, port_of(host));
    for (const std::size_t at : {std::size_t{0}, std::size_t{16}}) {
        const std::size_t size = at == 0 ? 16 : whole.size() - 34 - 16;
        Frame part(whole.begin(), whole.begin() + 34);
        part.insert(part.end(), whole.begin() + 34 + static_cast<std::ptrdiff_t>(at),
                    whole.begin() + 34 + static_cast<std::ptrdiff_t>(at + size));
        testing::put_big_endian(part, 16, static_cast<std::uint32_t>(20 + size), 2);
        testing::put_big_endian(part, 20, at == 0 ? 0x2000U : static_cast<std::uint32_t>(at / 8), 2);
        testing::put_big_endian(part, 24, 0, 2);
        InternetChecksum().add(std::span<const std::byte>(part).subspan(14, 20)).store(part.data() + 24, false);
        network.input(part);
    }
    network.turn(50);
    EXPECT_FALSE(host.accept());
}

class HostItself : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(HostItself, IsReachedByItsNameInTheNetworkAlone) {
    const ListeningSocket host(parse_endpoint("127.0.0.1:0"));
    for (const bool host_loopback : {false, true}) {
        Network network({.forwards = {}, .host_loopback = host_loopback});
        Frame syn = make_frame({.from_guest = true, .peer_port = port_of(host), .sequence = 1000, .flags = kSyn});
        testing::put_big_endian(syn, 30, GetParam(), 4);
        network.input(testing::finished(std::move(syn)));
        network.turn(50);
        EXPECT_EQ(static_cast<bool>(host.accept()), host_loopback && GetParam() == kGatewayAddress);
    }
}

INSTANTIATE_TEST_SUITE_P(Addresses, HostItself,
                         ::testing::Values(kGatewayAddress, 0x7f000001U, 0x7fffffffU, 0U, 0x00000001U));

}  // namespace
}  // namespace understudy::network
