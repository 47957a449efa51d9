#include "hypervisor/gateway/gateway.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "common/error.hpp"
#include "common/internet_checksum.hpp"
#include "hypervisor/gateway/openings.hpp"
#include "hypervisor/gateway/packet.hpp"
#include "tests/unit/hypervisor/gateway/fake_replica.hpp"
#include "tests/unit/hypervisor/gateway/frames.hpp"
#include "tests/unit/hypervisor/gateway/running_gateway.hpp"

namespace understudy::network {
namespace {

using testing::FakeReplica;
using testing::free_port;
using ::testing::HasSubstr;
using testing::kGuestMac;
using testing::kGuestPort;
using testing::RunningGateway;

SpeakerRank rank(std::uint64_t generation, bool won = false) {
    return {.generation = {generation}, .won = won};
}

bool is_syn(std::span<const std::byte> frame) {
    const auto segment = parse_tcp(frame);
    return segment && segment->opens_connection && ntohs(segment->destination_port) == kGuestPort;
}

// The guest asks who has 10.0.2.2.
Frame arp_question() {
    auto frame = gratuitous_arp(ArpForm::request, kGuestMac, htonl(kGuestAddress));
    const std::uint32_t target = htonl(kGatewayAddress);
    std::memcpy(frame.data() + 38, &target, sizeof target);
    return frame;
}

bool is_arp_answer(std::span<const std::byte> frame) {
    return is_arp(frame) && frame[21] == std::byte{2};
}

void connect_to(const FileDescriptor& client, std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
}

class GatewayTest : public ::testing::Test {
  protected:
    FileDescriptor connect_client() const {
        FileDescriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        connect_to(client, port_);
        return client;
    }

    std::uint16_t port_ = free_port();
    RunningGateway gateway_{{.forwards = {{.host_port = port_, .guest_port = kGuestPort}}}, true};
};

TEST_F(GatewayTest, CarriesFramesBothWays) {
    FakeReplica replica(gateway_.endpoint(), rank(1));
    EXPECT_EQ(replica.next()->kind, MessageKind::welcome);
    replica.send_frame(arp_question());
    EXPECT_TRUE(replica.next_frame(is_arp_answer));
    const auto client = connect_client();
    EXPECT_TRUE(replica.next_frame(is_syn));
}

TEST_F(GatewayTest, ServesReplicasOverTcpToo) {
    FakeReplica replica(gateway_.endpoint(1), rank(1));
    replica.send_frame(arp_question());
    EXPECT_TRUE(replica.next_frame(is_arp_answer));
}

TEST_F(GatewayTest, AConnectionThatComesBeforeAnyReplicaWaitsForOne) {
    const auto client = connect_client();
    FakeReplica replica(gateway_.endpoint(), rank(1));
    EXPECT_TRUE(replica.next_frame(is_syn));
}

TEST_F(GatewayTest, AHigherRankDeposesAndGetsWhatTheOtherDidNotAcknowledge) {
    FakeReplica primary(gateway_.endpoint(), rank(3));
    gateway_.wait_for_attached(3);
    const auto client = connect_client();
    ASSERT_TRUE(primary.next_frame(is_syn));
    FakeReplica backup(gateway_.endpoint(), rank(3, true));
    EXPECT_TRUE(backup.next_frame(is_syn));

    std::optional<FakeReplica::Message> last;
    while (const auto message = primary.next()) {
        last = message;
    }
    ASSERT_TRUE(last);
    EXPECT_EQ(last->kind, MessageKind::deposed);
    EXPECT_THAT(last->text(), HasSubstr("generation 3 (won)"));
}

TEST_F(GatewayTest, ALowerRankIsRefusedEvenWhenNobodySpeaks) {
    {
        const FakeReplica primary(gateway_.endpoint(), rank(5));
        gateway_.wait_for_attached(5);
        FakeReplica late(gateway_.endpoint(), rank(4, true));
        const auto answer = late.next();
        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->kind, MessageKind::refused);
        EXPECT_THAT(answer->text(), HasSubstr("generation 5"));
        EXPECT_FALSE(late.next());
    }
    gateway_.wait_for_detached(5);
    FakeReplica late(gateway_.endpoint(), rank(4));
    EXPECT_EQ(late.next()->kind, MessageKind::refused);
}

TEST_F(GatewayTest, ARankThatNoPairCanHaveReachedDeposesNobody) {
    FakeReplica primary(gateway_.endpoint(), rank(3));
    gateway_.wait_for_attached(3);
    FakeReplica absurd(gateway_.endpoint(), rank(~std::uint64_t{0}));
    EXPECT_EQ(absurd.next()->kind, MessageKind::refused);
    primary.send_frame(arp_question());
    EXPECT_TRUE(primary.next_frame(is_arp_answer));
    FakeReplica backup(gateway_.endpoint(), rank(4));
    EXPECT_EQ(backup.next()->kind, MessageKind::welcome);
}

TEST(Gateway, ARankThatNobodyComesBackWithCountsNoMore) {
    RunningGateway gateway({}, false, std::chrono::milliseconds(0));
    { const FakeReplica absurd(gateway.endpoint(), rank(~std::uint64_t{0})); }
    gateway.wait_for_detached(~std::uint64_t{0});
    FakeReplica primary(gateway.endpoint(), rank(3));
    EXPECT_EQ(primary.next()->kind, MessageKind::welcome);
}

TEST(Gateway, ANameUnderWhichNoGuestWasHeardIsForgotten) {
    RunningGateway gateway;
    { const FakeReplica stranger(gateway.endpoint(), rank(1), "mail"); }
    gateway.wait_for_detached(1);
    FakeReplica primary(gateway.endpoint(), rank(2), "kv");
    EXPECT_EQ(primary.next()->kind, MessageKind::welcome);
}

TEST(Gateway, ANameUnderWhichAGuestWasHeardIsKeptWhoeverSaysNothingUnderItLater) {
    RunningGateway gateway;
    {
        FakeReplica primary(gateway.endpoint(), rank(1), "kv");
        primary.send_frame(arp_question());
        EXPECT_TRUE(primary.next_frame(is_arp_answer));
    }
    gateway.wait_for_detached(1);
    { const FakeReplica dies_at_once(gateway.endpoint(), rank(2), "kv"); }
    gateway.wait_for_detached(2);
    FakeReplica stranger(gateway.endpoint(), rank(3), "mail");
    EXPECT_EQ(stranger.next()->kind, MessageKind::refused);
}

// Sends a frame that the gateway answers at once, and takes all frames up to the answer.
std::vector<Frame> frames_up_to_an_answer(FakeReplica& replica) {
    std::vector<Frame> frames;
    replica.send_frame(arp_question());
    EXPECT_TRUE(replica.next_frame([&frames](std::span<const std::byte> frame) {
        frames.emplace_back(frame.begin(), frame.end());
        return is_arp_answer(frame);
    }));
    return frames;
}

// The connections that reach a guest which accepts every one.
std::size_t accept_all(FakeReplica& replica) {
    std::set<std::uint16_t> peers;
    for (int without_news = 0; without_news < 5; ++without_news) {
        for (const Frame& frame : frames_up_to_an_answer(replica)) {
            if (is_syn(frame) && peers.insert(parse_tcp(frame)->source_port).second) {
                replica.send_frame(testing::accepting(frame));
                without_news = 0;
            }
        }
    }
    return peers.size();
}

// The clients' sockets are made before the gateway is, so that only its own descriptors run short.
TEST(GatewayDescriptors, ClientsLeaveSomeForReplicas) {
    std::vector<FileDescriptor> clients;
    clients.reserve(400);
    for (int i = 0; i < 400; ++i) {
        clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    }
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit low{static_cast<rlim_t>(clients.back().get() + 300), before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
    const std::shared_ptr<void> restore(nullptr, [&before](void*) { ::setrlimit(RLIMIT_NOFILE, &before); });

    const std::uint16_t port = free_port();
    RunningGateway gateway({.forwards = {{.host_port = port, .guest_port = kGuestPort}}});
    FakeReplica primary(gateway.endpoint(), rank(1));
    EXPECT_EQ(primary.next()->kind, MessageKind::welcome);
    for (const FileDescriptor& client : clients) {
        connect_to(client, port);
    }
    const std::size_t served = accept_all(primary);
    EXPECT_GT(served, 50U);
    EXPECT_LT(served, 300U - kReservedDescriptors);
    FakeReplica backup(gateway.endpoint(), rank(2));
    EXPECT_EQ(backup.next()->kind, MessageKind::welcome);
    EXPECT_FALSE(frames_up_to_an_answer(backup).empty());
}

// A listener of the host's accepts nobody: the connections that the guest opens wait in its queue, and are the
// gateway's.
TEST(GatewayDescriptors, TheGuestLeavesSomeForReplicas) {
    const ListeningSocket host(parse_endpoint("127.0.0.1:0"));
    const auto text = host.text();
    const auto port = static_cast<std::uint16_t>(std::stoi(text.substr(text.rfind(':') + 1)));
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit low{400, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
    const std::shared_ptr<void> restore(nullptr, [&before](void*) { ::setrlimit(RLIMIT_NOFILE, &before); });
    RunningGateway gateway({.forwards = {}, .host_loopback = true});
    FakeReplica primary(gateway.endpoint(), rank(1));
    EXPECT_EQ(primary.next()->kind, MessageKind::welcome);
    for (std::uint16_t i = 0; i < 500; ++i) {
        primary.send_frame(testing::opening(static_cast<std::uint16_t>(20'000 + i), port));
    }
    frames_up_to_an_answer(primary);
    std::size_t opened = 0;
    while (host.accept()) {
        ++opened;
    }
    EXPECT_GT(opened, 100U);
    EXPECT_LT(opened, 400U - kReservedDescriptors);
    FakeReplica backup(gateway.endpoint(), rank(2));
    EXPECT_EQ(backup.next()->kind, MessageKind::welcome);
}

TEST_F(GatewayTest, AsManyConnectionsAreOpenedAtOnceAsTheGuestIsTrustedToHold) {
    FakeReplica replica(gateway_.endpoint(), rank(1));
    EXPECT_EQ(replica.next()->kind, MessageKind::welcome);
    std::vector<FileDescriptor> clients;
    clients.reserve(200);
    for (int i = 0; i < 200; ++i) {
        clients.push_back(connect_client());
    }
    std::map<std::uint16_t, Frame> waiting;
    for (bool repeated = false; !repeated;) {
        const auto syn = replica.next_frame(is_syn);
        ASSERT_TRUE(syn);
        repeated = !waiting.emplace(parse_tcp(*syn)->source_port, *syn).second;
    }
    EXPECT_EQ(waiting.size(), Openings::kMaxPerPort);
    for (const auto& [port, syn] : waiting) {
        replica.send_frame(testing::accepting(syn));
    }
    EXPECT_GE(accept_all(replica), clients.size() - waiting.size());
}

TEST_F(GatewayTest, AReplicaThatReconnectsWithItsRankGoesOn) {
    const auto client = connect_client();
    {
        FakeReplica replica(gateway_.endpoint(), rank(2));
        ASSERT_TRUE(replica.next_frame(is_syn));
    }
    FakeReplica again(gateway_.endpoint(), rank(2));
    EXPECT_TRUE(again.next_frame(is_syn));
}

TEST_F(GatewayTest, WhatTheDeposedReplicaHadSaidBeforeCounts) {
    // Many rounds, because both sockets must become readable between two looks of the gateway for the order to matter.
    for (std::uint64_t generation = 1; generation < 40; generation += 2) {
        FakeReplica primary(gateway_.endpoint(), rank(generation));
        EXPECT_EQ(primary.next()->kind, MessageKind::welcome);
        primary.send_frame(arp_question());
        FakeReplica backup(gateway_.endpoint(), rank(generation + 1));
        EXPECT_TRUE(backup.next_frame(is_arp_answer)) << generation;
    }
}

TEST_F(GatewayTest, ARankRisesOnTheSameConnection) {
    FakeReplica replica(gateway_.endpoint(), rank(1));
    gateway_.wait_for_attached(1);
    std::vector<std::byte> hello;
    append_hello(hello, {.vm = "kv", .rank = rank(7), .mac = kGuestMac});
    replica.write(hello);
    gateway_.wait_for_attached(7);
    FakeReplica lower(gateway_.endpoint(), rank(6));
    EXPECT_EQ(lower.next()->kind, MessageKind::refused);
}

TEST_F(GatewayTest, AnotherVmIsRefusedByName) {
    const FakeReplica replica(gateway_.endpoint(), rank(1), "kv");
    gateway_.wait_for_attached(1);
    FakeReplica stranger(gateway_.endpoint(), rank(9), "mail");
    const auto answer = stranger.next();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->kind, MessageKind::refused);
    EXPECT_THAT(answer->text(), HasSubstr("serves the VM kv, not mail"));
}

TEST_F(GatewayTest, GarbageAndPortScansLeaveTheVoiceAlone) {
    FakeReplica replica(gateway_.endpoint(), rank(1));
    gateway_.wait_for_attached(1);
    std::mt19937 random(1);
    for (const std::size_t which : {0U, 1U}) {
        FakeReplica(gateway_.endpoint(which)).write("GET / HTTP/1.1\r\n\r\n");
        FakeReplica(gateway_.endpoint(which)).write("\x16\x03\x01\x02");
        for (int i = 0; i < 50; ++i) {
            const FakeReplica scan(gateway_.endpoint(which));
        }
        for (int i = 0; i < 50; ++i) {
            std::vector<std::byte> noise(random() % 3000);
            for (std::byte& byte : noise) {
                byte = static_cast<std::byte>(random() & 0xff);
            }
            FakeReplica(gateway_.endpoint(which)).write(noise);
        }
        // A hello that is right up to its last byte, which never comes.
        std::vector<std::byte> hello;
        append_hello(hello, {.vm = "kv", .rank = rank(9), .mac = kGuestMac});
        FakeReplica(gateway_.endpoint(which)).write(std::span(hello).first(hello.size() - 1));
    }
    replica.send_frame(arp_question());
    EXPECT_TRUE(replica.next_frame(is_arp_answer));
}

TEST_F(GatewayTest, ConnectionsWithoutAHelloDoNotKeepAReplicaOut) {
    std::vector<FakeReplica> idle;
    idle.reserve(40);
    for (int i = 0; i < 40; ++i) {
        idle.emplace_back(gateway_.endpoint());
    }
    FakeReplica replica(gateway_.endpoint(), rank(1));
    EXPECT_EQ(replica.next()->kind, MessageKind::welcome);
    const auto answer = idle.front().next();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->kind, MessageKind::refused);
}

TEST_F(GatewayTest, AReplicaThatStandsByMaySayHelloWhenItLikes) {
    FakeReplica standby(gateway_.endpoint());
    standby.say(MessageKind::standby);
    std::vector<FakeReplica> idle;
    idle.reserve(20);
    for (int i = 0; i < 20; ++i) {
        idle.emplace_back(gateway_.endpoint());
    }
    EXPECT_THAT(idle.back().next()->text(), HasSubstr("no hello in time"));
    standby.say(MessageKind::hello, rank(1));
    EXPECT_EQ(standby.next()->kind, MessageKind::welcome);
    standby.send_frame(arp_question());
    EXPECT_TRUE(standby.next_frame(is_arp_answer));
}

TEST_F(GatewayTest, OfTooManyThatStandByTheOldestGoes) {
    std::vector<FakeReplica> standbys;
    standbys.reserve(5);
    for (int i = 0; i < 5; ++i) {
        standbys.emplace_back(gateway_.endpoint()).say(MessageKind::standby);
    }
    EXPECT_THAT(standbys.front().next()->text(), HasSubstr("others stand by since"));
    standbys.back().say(MessageKind::hello, rank(1));
    EXPECT_EQ(standbys.back().next()->kind, MessageKind::welcome);
}

TEST_F(GatewayTest, NobodyStandsByForAnotherVmNorTwice) {
    FakeReplica replica(gateway_.endpoint(), rank(1));
    replica.send_frame(arp_question());
    ASSERT_TRUE(replica.next_frame(is_arp_answer));
    FakeReplica other(gateway_.endpoint());
    other.say(MessageKind::standby, {}, "mail");
    EXPECT_THAT(other.next()->text(), HasSubstr("serves the VM kv, not mail"));
    FakeReplica twice(gateway_.endpoint());
    twice.say(MessageKind::standby);
    twice.say(MessageKind::standby);
    EXPECT_THAT(twice.next()->text(), HasSubstr("no Understudy replica"));
}

TEST_F(GatewayTest, AnyFrameAtAllMayComeFromTheGuest) {
    FakeReplica replica(gateway_.endpoint(), rank(1));
    std::mt19937 random(2);
    for (int i = 0; i < 5000; ++i) {
        Frame frame(kMinFrameBytes + random() % (kMaxWireFrameBytes - kMinFrameBytes + 1));
        for (std::byte& byte : frame) {
            byte = static_cast<std::byte>(random() & 0xff);
        }
        // Half of them pass for ARP or IPv4 from the guest, so that the network stack has something to chew on.
        if (i % 4 != 0) {
            frame[12] = std::byte{0x08};
            frame[13] = i % 4 == 1 ? std::byte{0x06} : std::byte{0x00};
            if (frame.size() > 40) {
                frame[14] = std::byte{0x45};
                testing::put_big_endian(frame, 16, static_cast<std::uint32_t>(frame.size() - 14), 2);
                frame[23] = std::array{std::byte{1}, std::byte{6}, std::byte{17}, frame[23]}.at(random() % 4);
                testing::put_big_endian(frame, 24, 0, 2);
                InternetChecksum().add(std::span<const std::byte>(frame).subspan(14, 20)).store(&frame[24], false);
            }
        }
        replica.send_frame(frame);
    }
    replica.send_frame(arp_question());
    EXPECT_TRUE(replica.next_frame(is_arp_answer));
}

TEST_F(GatewayTest, AVoiceThatSpeaksGarbageIsHungUpOn) {
    FakeReplica replica(gateway_.endpoint(), rank(1));
    gateway_.wait_for_attached(1);
    replica.write("\xff\xff\xff\xff");
    while (replica.next()) {
    }
    EXPECT_THAT(gateway_.wait_for_detached(1).detail, HasSubstr("no message"));
    FakeReplica again(gateway_.endpoint(), rank(1));
    EXPECT_EQ(again.next()->kind, MessageKind::welcome);
}

TEST(GatewayStart, AForwardThatIsTakenIsAnErrorAndLeavesNoSocketFile) {
    const ListeningSocket taken(parse_endpoint("127.0.0.1:0"));
    const auto text = taken.text();
    const auto port = static_cast<std::uint16_t>(std::stoi(text.substr(text.rfind(':') + 1)));
    const auto path = std::filesystem::temp_directory_path() / ("gateway-start-" + std::to_string(::getpid()));
    GatewayConfig config{.listen = {"unix:" + path.string()},
                         .network = {.forwards = {{.host_port = port, .guest_port = 80}}},
                         .vm = {}};
    EXPECT_THROW(Gateway(config, [](const GatewayEvent&) {}), Error);
    EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace understudy::network
