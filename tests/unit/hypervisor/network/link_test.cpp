#include "hypervisor/network/link.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <filesystem>
#include <functional>
#include <optional>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"
#include "hypervisor/gateway/endpoint.hpp"
#include "hypervisor/gateway/protocol.hpp"
#include "tests/unit/hypervisor/network/packets.hpp"

namespace understudy::network {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

// The gateway's end of one connection, played by the test.
class Peer {
  public:
    explicit Peer(FileDescriptor fd) : fd_(std::move(fd)) {}

    // The next message, while `io` runs the link's side. Nothing: the connection ended.
    std::optional<std::pair<MessageKind, Frame>> next(asio::io_context& io) {
        while (true) {
            const auto result = decoder_.next();
            if (result.status == MessageDecoder::Status::message) {
                return std::pair{result.kind, Frame(result.body.begin(), result.body.end())};
            }
            EXPECT_EQ(result.status, MessageDecoder::Status::need_more);
            io.restart();
            io.poll();
            pollfd entry{.fd = fd_.get(), .events = POLLIN, .revents = 0};
            if (::poll(&entry, 1, 1) > 0) {
                const auto space = decoder_.space();
                const auto got = ::recv(fd_.get(), space.data(), space.size(), 0);
                if (got <= 0) {
                    return std::nullopt;
                }
                decoder_.committed(static_cast<std::size_t>(got));
            }
        }
    }

    void say(MessageKind kind, std::string_view text = {}) {
        std::vector<std::byte> message;
        append_notice(message, kind, text);
        write(message);
    }
    void frame(std::byte filling, std::size_t size = 60) {
        std::vector<std::byte> message;
        append_frame(message, Frame(size, filling));
        write(message);
    }
    void write(std::span<const std::byte> bytes) {
        ASSERT_EQ(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    }

  private:
    FileDescriptor fd_;
    MessageDecoder decoder_{65536};
};

class GatewayLinkTest : public ::testing::Test {
  protected:
    GatewayLinkTest() : path_(std::filesystem::temp_directory_path() / ("link-" + std::to_string(::getpid()))) {
        listen();
        link_ = make_link(
            io_,
            {.endpoint = "gateway:unix:" + path_.string(), .vm = "kv", .mac = {2, 0, 0, 0, 0, 1}, .ipv4_address = 0},
            [this](Frame frame) {
                received_.push_back(frame[0]);
                if (pause_after_ == received_.size()) {
                    link_->pause_receive(true);
                }
            });
    }

    void listen() { listener_.emplace(parse_endpoint("unix:" + path_.string())); }

    void run_until(const std::function<bool()>& done) {
        while (!done()) {
            io_.restart();
            io_.run_for(1ms);
        }
    }

    Peer accept() {
        FileDescriptor fd;
        run_until([&] { return static_cast<bool>(fd = listener_->accept()); });
        return Peer(std::move(fd));
    }

    static Hello hello_in(const std::optional<std::pair<MessageKind, Frame>>& message) {
        EXPECT_TRUE(message && message->first == MessageKind::hello);
        std::string reason;
        const auto hello = decode_hello(message->second, reason);
        EXPECT_TRUE(hello) << reason;
        return hello.value_or(Hello{});
    }

    std::filesystem::path path_;
    asio::io_context io_;
    std::optional<ListeningSocket> listener_;
    std::vector<std::byte> received_;
    std::size_t pause_after_ = 0;
    std::unique_ptr<Link> link_;
};

TEST_F(GatewayLinkTest, IsSilentUntilItSpeaks) {
    link_->send(std::vector<Frame>{Frame(60)});
    io_.poll();
    EXPECT_FALSE(listener_->accept());
    link_->speak({.generation = {3}, .won = true});
    auto peer = accept();
    const auto hello = hello_in(peer.next(io_));
    EXPECT_EQ(hello.vm, "kv");
    EXPECT_EQ(hello.rank, (SpeakerRank{.generation = {3}, .won = true}));
    // What was sent in silence was dropped: the next thing to come is the next thing said.
    link_->send(std::vector<Frame>{Frame(99)});
    EXPECT_EQ(peer.next(io_)->second.size(), 99U);
}

TEST_F(GatewayLinkTest, SpeaksOnTheConnectionThatItStoodByOn) {
    link_->stand_by();
    auto peer = accept();
    const auto message = peer.next(io_);
    ASSERT_TRUE(message);
    EXPECT_EQ(message->first, MessageKind::standby);
    std::string reason;
    EXPECT_EQ(decode_hello(message->second, reason)->vm, "kv");
    link_->send(std::vector<Frame>{Frame(60)});  // in silence
    link_->speak({.generation = {3}, .won = true});
    EXPECT_EQ(hello_in(peer.next(io_)).rank, (SpeakerRank{.generation = {3}, .won = true}));
    peer.say(MessageKind::welcome);
    peer.frame(std::byte{7});
    run_until([&] { return !received_.empty(); });
    link_->send(std::vector<Frame>{Frame(99)});
    EXPECT_EQ(peer.next(io_)->second.size(), 99U);
}

TEST_F(GatewayLinkTest, AConnectionThatNobodyAnswersAfterStandingByIsMadeAnewAndLosesNothing) {
    link_->stand_by();
    auto forgotten = accept();
    ASSERT_TRUE(forgotten.next(io_));
    link_->speak({.generation = {3}});
    link_->send(std::vector<Frame>{Frame(99)});
    auto peer = accept();
    EXPECT_EQ(hello_in(peer.next(io_)).rank.generation.value, 3U);
    EXPECT_EQ(peer.next(io_)->second.size(), 99U);
}

// What refuses is about standing by: the hello was not read yet.
TEST_F(GatewayLinkTest, WhoIsTurnedAwayFromStandingByAmidItsHelloSaysItAgainAtOnce) {
    link_->stand_by();
    auto first = accept();
    ASSERT_TRUE(first.next(io_));
    first.say(MessageKind::refused, "others stand by since");
    link_->speak({.generation = {3}});
    link_->send(std::vector<Frame>{Frame(99)});
    auto second = accept();
    EXPECT_EQ(hello_in(second.next(io_)).rank.generation.value, 3U);
    EXPECT_EQ(second.next(io_)->second.size(), 99U);
}

TEST_F(GatewayLinkTest, SpeaksAtOnceThoughItWasRefusedBeforeItStoodBy) {
    link_->stand_by();
    {
        auto refuses = accept();
        ASSERT_TRUE(refuses.next(io_));
        refuses.say(MessageKind::refused, "this gateway serves another VM");
        EXPECT_FALSE(refuses.next(io_));
    }
    auto peer = accept();
    EXPECT_EQ(peer.next(io_)->first, MessageKind::standby);
    link_->speak({.generation = {3}});
    link_->send(std::vector<Frame>{Frame(99)});
    hello_in(peer.next(io_));
    peer.say(MessageKind::welcome);
    EXPECT_EQ(peer.next(io_)->second.size(), 99U);
}

TEST_F(GatewayLinkTest, StandsByAgainWhenTheGatewayComesBackAndSpeaksWithoutOne) {
    link_->stand_by();
    { auto peer = accept(); }
    auto again = accept();
    EXPECT_EQ(again.next(io_)->first, MessageKind::standby);
    again.frame(std::byte{1});  // nobody listens yet
    EXPECT_FALSE(again.next(io_));
    EXPECT_TRUE(received_.empty());
    listener_.reset();
    io_.restart();
    io_.run_for(20ms);
    link_->speak({.generation = {3}});
    io_.restart();
    io_.run_for(20ms);
    listen();
    auto peer = accept();
    EXPECT_EQ(hello_in(peer.next(io_)).rank.generation.value, 3U);
}

TEST_F(GatewayLinkTest, ARisenRankIsAnnouncedOnTheSameConnection) {
    link_->speak({.generation = {1}});
    auto peer = accept();
    hello_in(peer.next(io_));
    link_->speak({.generation = {2}});
    EXPECT_EQ(hello_in(peer.next(io_)).rank.generation.value, 2U);
}

TEST_F(GatewayLinkTest, ReconnectsWithItsRankAndSendsWhatWaited) {
    link_->speak({.generation = {4}});
    {
        auto peer = accept();
        hello_in(peer.next(io_));
        peer.say(MessageKind::welcome);
    }
    listener_.reset();
    // Long enough for several attempts that find nobody.
    io_.restart();
    io_.run_for(50ms);
    link_->send(std::vector<Frame>{Frame(77)});
    listen();
    auto peer = accept();
    EXPECT_EQ(hello_in(peer.next(io_)).rank.generation.value, 4U);
    EXPECT_EQ(peer.next(io_)->second.size(), 77U);
}

TEST_F(GatewayLinkTest, ADeposedReplicaStaysAwayUntilItsRankRises) {
    link_->speak({.generation = {1}});
    {
        auto peer = accept();
        hello_in(peer.next(io_));
        peer.say(MessageKind::deposed, "generation 2 speaks");
        EXPECT_FALSE(peer.next(io_));
    }
    io_.restart();
    io_.run_for(50ms);
    EXPECT_FALSE(listener_->accept());
    link_->speak({.generation = {3}});
    auto peer = accept();
    EXPECT_EQ(hello_in(peer.next(io_)).rank.generation.value, 3U);
}

// The gateway may have been wrong about who speaks: whoever is right must not be kept from saying so for good.
TEST_F(GatewayLinkTest, AReplicaThatIsTurnedAwayAsksAgain) {
    link_->speak({.generation = {1}});
    for (const auto kind : {MessageKind::deposed, MessageKind::refused}) {
        auto peer = accept();
        hello_in(peer.next(io_));
        peer.say(kind, "generation 18446744073709551615 speaks");
        EXPECT_FALSE(peer.next(io_));
        link_->send(std::vector<Frame>{Frame(60)});  // nobody is there to hear it
    }
    auto peer = accept();
    EXPECT_EQ(hello_in(peer.next(io_)).rank.generation.value, 1U);
    peer.say(MessageKind::welcome);
    peer.frame(std::byte{9});
    run_until([&] { return !received_.empty(); });
    link_->send(std::vector<Frame>{Frame(77)});
    EXPECT_EQ(peer.next(io_)->second.size(), 77U);
}

TEST_F(GatewayLinkTest, APauseHoldsBackEvenWhatHasBeenRead) {
    pause_after_ = 2;
    link_->speak({.generation = {1}});
    auto peer = accept();
    hello_in(peer.next(io_));
    for (int i = 1; i <= 4; ++i) {
        peer.frame(static_cast<std::byte>(i));
    }
    run_until([&] { return received_.size() >= 2; });
    io_.restart();
    io_.run_for(20ms);
    EXPECT_EQ(received_, (std::vector{std::byte{1}, std::byte{2}}));
    link_->pause_receive(false);
    run_until([&] { return received_.size() >= 4; });
    EXPECT_EQ(received_.back(), std::byte{4});
}

TEST_F(GatewayLinkTest, FramesSurviveAPeerThatDrainsSlowly) {
    link_->speak({.generation = {1}});
    auto peer = accept();
    hello_in(peer.next(io_));
    // More than a socket's buffer, less than the link's bound.
    std::vector<Frame> frames;
    for (std::size_t i = 0; i < 2000; ++i) {
        frames.emplace_back(1000, static_cast<std::byte>(i & 0xff));
    }
    link_->send(frames);
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const auto message = peer.next(io_);
        ASSERT_TRUE(message);
        ASSERT_EQ(message->second, frames[i]) << i;
    }
}

// Nothing of it is safe from this process's death.
TEST_F(GatewayLinkTest, TellsWhatItHoldsForAGatewayThatDoesNotRead) {
    listener_.reset();
    link_->speak({.generation = {1}});
    const std::size_t many = 1500;
    link_->send(std::vector<Frame>(many, Frame(1000)));
    EXPECT_EQ(link_->passage(), (Passage{.given = many, .gone = 0})) << "nobody is there";
    listen();
    auto peer = accept();
    run_until([&] { return link_->passage().gone > 0; });
    EXPECT_LT(link_->passage().gone, many) << "more than the kernel has room for";
    hello_in(peer.next(io_));
    for (std::size_t i = 0; i < many; ++i) {
        ASSERT_TRUE(peer.next(io_));
    }
    EXPECT_EQ(link_->passage(), (Passage{.given = many, .gone = many}));
}

TEST_F(GatewayLinkTest, WhatItDropsItDoesNotHold) {
    link_->speak({.generation = {1}});
    link_->send(std::vector<Frame>(10'000, Frame(1000)));
    EXPECT_EQ(link_->passage().given, 10'000U);
    EXPECT_GT(link_->passage().gone, 5'000U);
    auto peer = accept();
    hello_in(peer.next(io_));
    peer.say(MessageKind::deposed, "generation 2 speaks");
    run_until([&] { return link_->passage().gone == 10'000; });
}

TEST_F(GatewayLinkTest, WhatNobodyDrainsIsBoundedAndLosesItsOldest) {
    link_->speak({.generation = {1}});
    for (std::size_t i = 0; i < 10'000; ++i) {
        Frame frame(1000, std::byte{0});
        frame[0] = static_cast<std::byte>(i & 0xff);
        frame[1] = static_cast<std::byte>(i >> 8);
        link_->send({&frame, 1});
    }
    auto peer = accept();
    hello_in(peer.next(io_));
    std::size_t count = 0;
    std::size_t last = 0;
    while (last != 9'999) {
        const auto message = peer.next(io_);
        ASSERT_TRUE(message);
        const auto number =
            static_cast<std::size_t>(message->second[0]) | (static_cast<std::size_t>(message->second[1]) << 8);
        EXPECT_TRUE(count == 0 || number > last);
        last = number;
        ++count;
    }
    EXPECT_LT(count, 6'000U);
    EXPECT_GT(count, 3'000U);
}

TEST_F(GatewayLinkTest, GarbageFromTheGatewayEndsTheConnectionNotTheProcess) {
    link_->speak({.generation = {1}});
    {
        auto peer = accept();
        hello_in(peer.next(io_));
        peer.write(std::as_bytes(std::span(std::string_view("HTTP/1.1 400 Bad Request\r\n"))));
        EXPECT_FALSE(peer.next(io_));
    }
    auto peer = accept();
    hello_in(peer.next(io_));
}

TEST_F(GatewayLinkTest, MayBeDestroyedWithEverythingUnderWay) {
    link_->speak({.generation = {1}});
    auto peer = accept();
    hello_in(peer.next(io_));
    link_->send(std::vector<Frame>(3000, Frame(1000)));
    link_.reset();
    io_.restart();
    io_.run();
}

// A guest whose NIC offloads, at a gateway that knows plain frames alone.
TEST(OffloadingGuestAtAGateway, SaysFramesThatAreDoneAndHearsThemUnderAHeader) {
    using namespace testing;
    const TemporaryDirectory directory;
    const auto path = directory.path() / "gateway";
    asio::io_context io;
    const ListeningSocket listener(parse_endpoint("unix:" + path.string()));
    std::vector<Frame> received;
    const auto link = make_link(io,
                                {.endpoint = "gateway:unix:" + path.string(),
                                 .vm = "kv",
                                 .mac = {2, 0, 0, 0, 0, 1},
                                 .ipv4_address = 0,
                                 .format = FrameFormat::with_offload_header},
                                [&](Frame frame) { received.push_back(std::move(frame)); });
    link->stand_by();
    FileDescriptor fd;
    while (!(fd = listener.accept())) {
        io.restart();
        io.run_for(1ms);
    }
    Peer peer(std::move(fd));
    EXPECT_EQ(peer.next(io)->first, MessageKind::standby);
    link->speak({.generation = {1}});
    EXPECT_EQ(peer.next(io)->first, MessageKind::hello);
    peer.say(MessageKind::welcome);

    const PacketShape shape{};
    const Octets payload = counting_bytes(40'000);
    Frame malformed = under(segment_header(shape, 1448), unfinished_frame(shape, payload));
    malformed[4] = malformed[5] = std::byte{0};
    link->send(std::vector<Frame>{malformed, under(segment_header(shape, 1448), unfinished_frame(shape, payload)),
                                  with_offload_header(counting_bytes(60))});
    Octets stream;
    while (stream.size() < payload.size()) {
        const auto message = peer.next(io);
        ASSERT_TRUE(message && message->first == MessageKind::frame);
        ASSERT_TRUE(checksums_hold(message->second, shape));
        stream.insert(stream.end(), message->second.begin() + static_cast<std::ptrdiff_t>(shape.payload()),
                      message->second.end());
    }
    EXPECT_EQ(stream, payload);
    EXPECT_EQ(peer.next(io)->second, counting_bytes(60));

    peer.frame(std::byte{7});
    while (received.empty()) {
        io.restart();
        io.run_for(1ms);
    }
    EXPECT_EQ(received, std::vector<Frame>{with_offload_header(Frame(60, std::byte{7}))});
}

TEST(MakeLink, EndpointsThatAreNoneAreRefused) {
    asio::io_context io;
    for (const char* text : {"", "gateway", "gateway:", "gateway:unix:", "tap:", "tap:x,vlan=3",
                             "tap:x,bridge=", "tap:a-name-that-is-much-too-long", "vde:x"}) {
        EXPECT_THROW((void)make_link(io, {.endpoint = text, .vm = "kv"}, [](const Frame&) {}), Error) << text;
    }
    const auto none = make_link(io, {.endpoint = "none", .vm = "kv"}, [](const Frame&) {});
    none->speak({});
    none->send(std::vector<Frame>{Frame(60)});
    none->pause_receive(true);
}

}  // namespace
}  // namespace understudy::network
