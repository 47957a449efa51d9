// The gateway's TCP port under TLS, and the replica's link to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "hypervisor/gateway/packet.hpp"
#include "hypervisor/network/link.hpp"
#include "tests/unit/common/tls/site.hpp"
#include "tests/unit/hypervisor/gateway/fake_replica.hpp"
#include "tests/unit/hypervisor/gateway/running_gateway.hpp"

namespace understudy::network {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using testing::FakeReplica;
using ::testing::HasSubstr;
using testing::kGuestMac;
using testing::RunningGateway;

// The guest asks who has this address.
Frame question_about(std::uint32_t address) {
    auto question = gratuitous_arp(ArpForm::request, kGuestMac, htonl(kGuestAddress));
    const std::uint32_t target = htonl(address);
    std::memcpy(question.data() + 38, &target, sizeof target);
    return question;
}

bool is_answer(std::span<const std::byte> frame) {
    return is_arp(frame) && frame[21] == std::byte{2};
}

bool is_answer_about(std::uint32_t address, std::span<const std::byte> frame) {
    const std::uint32_t source = htonl(address);
    return is_answer(frame) && std::memcmp(frame.data() + 28, &source, sizeof source) == 0;
}

class EncryptedGateway : public ::testing::Test {
  protected:
    EncryptedGateway() { std::signal(SIGPIPE, SIG_IGN); }

    std::unique_ptr<Link> link(std::shared_ptr<tls::Context> tls, std::uint64_t generation, const VmId& vm = "kv") {
        LinkConfig config{.endpoint = "gateway:" + gateway_.endpoint(1), .vm = vm, .mac = kGuestMac};
        config.tls = std::move(tls);
        auto made = make_link(io_, config, [this](Frame frame) { received_.push_back(std::move(frame)); });
        made->speak({.generation = {generation}, .won = false});
        return made;
    }
    template <typename Condition>
    void run_until(Condition done) {
        while (!done()) {
            io_.restart();
            io_.run_for(1ms);
        }
    }
    // Why the gateway turned somebody away, who comes with this. Who was turned away before may have tried again, and
    // have hung up amid that.
    std::string refusal(std::shared_ptr<tls::Context> tls, const VmId& vm = "kv") {
        const auto before = refusals();
        const auto stranger = link(std::move(tls), 9, vm);
        std::string why;
        run_until([&] {
            why = refusals() > before ? gateway_.last(GatewayEvent::Kind::refused).detail : "";
            return !why.empty() && why.find("unexpected eof") == why.npos;
        });
        return why;
    }
    std::size_t refusals() { return gateway_.count(GatewayEvent::Kind::refused); }

    tls::testing::Site site_;
    boost::asio::io_context io_;
    std::vector<Frame> received_;
    RunningGateway gateway_{{}, true, GatewayConfig{}.rank_memory, site_.of(tls::testing::gateway("g", {"kv"}))};
};

TEST_F(EncryptedGateway, CarriesFramesBothWays) {
    const auto voice = link(site_.of(tls::testing::host("a", {"kv"})), 1);
    const auto question = question_about(kGatewayAddress);
    const std::size_t many = 2000;  // more than one record holds, and than is read at once
    voice->send(std::vector<Frame>(many, question));
    EXPECT_EQ(voice->passage(), (Passage{.given = many, .gone = 0}));
    run_until([&] { return received_.size() >= many; });
    EXPECT_EQ(voice->passage(), (Passage{.given = many, .gone = many}));
    EXPECT_EQ(received_.front()[21], std::byte{2}) << "an answer";
}

TEST_F(EncryptedGateway, HostsOfTheVmSpeakAndNobodyElse) {
    const auto voice = link(site_.of(tls::testing::host("a", {"kv"})), 1);
    run_until([&] { return gateway_.count(GatewayEvent::Kind::attached) == 1; });
    tls::testing::Site foreign;
    EXPECT_THAT(refusal(site_.of(tls::testing::host("b", {"mail"}))),
                AllOf(HasSubstr("'host-b'"), HasSubstr("not for the VM 'kv'")));
    EXPECT_THAT(refusal(site_.of(tls::testing::client("c"))), HasSubstr("is a client's, not a host's"));
    EXPECT_THAT(refusal(foreign.of(tls::testing::host("a", {"kv"}))), HasSubstr("TLS: "));
    EXPECT_THAT(refusal(nullptr), HasSubstr("speaks plain text"));
    EXPECT_THAT(refusal(site_.expired(tls::testing::host("expired", {"kv"}))), HasSubstr("has expired"));
    EXPECT_EQ(gateway_.count(GatewayEvent::Kind::attached), 1U);
    EXPECT_EQ(gateway_.count(GatewayEvent::Kind::detached), 0U);
}

TEST_F(EncryptedGateway, HostsOfTheVmStandByAndNobodyElse) {
    const auto stand_by = [&](const tls::Identity& who) {
        LinkConfig config{.endpoint = "gateway:" + gateway_.endpoint(1), .vm = "kv", .mac = kGuestMac};
        config.tls = site_.of(who);
        auto made = make_link(io_, config, [](const Frame&) {});
        made->stand_by();
        return made;
    };
    const auto standby = stand_by(tls::testing::host("a", {"kv"}));
    const auto stranger = stand_by(tls::testing::host("b", {"mail"}));
    run_until([&] { return refusals() == 1; });
    EXPECT_THAT(gateway_.last(GatewayEvent::Kind::refused).detail, HasSubstr("not for the VM 'kv'"));
    run_until([&] { return gateway_.count(GatewayEvent::Kind::standing_by) == 1; });
    EXPECT_EQ(gateway_.count(GatewayEvent::Kind::attached), 0U);
    standby->speak({.generation = {1}, .won = true});
    run_until([&] { return gateway_.count(GatewayEvent::Kind::attached) == 1; });
}

TEST_F(EncryptedGateway, AUnixSocketGoesWithout) {
    FakeReplica replica(gateway_.endpoint(0), {.generation = {1}, .won = false});
    EXPECT_EQ(replica.next()->kind, MessageKind::welcome);
}

// What the primary wrote before its successor's hello waits unread, as much as the kernel keeps: the gateway stood
// still. The answers to it are the successor's.
class EncryptedVoice : public EncryptedGateway, public ::testing::WithParamInterface<bool> {};

TEST_P(EncryptedVoice, HasSaidAllThatItWroteBeforeItsSuccessorCame) {
    const bool dies = GetParam();
    FakeReplica backup(gateway_.endpoint(1), site_.of(tls::testing::host("b", {"kv"})));
    backup.say(MessageKind::standby);
    gateway_.wait_for([](const GatewayEvent& event) { return event.kind == GatewayEvent::Kind::standing_by; });
    std::optional<FakeReplica> primary(std::in_place, gateway_.endpoint(1), site_.of(tls::testing::host("a", {"kv"})));
    auto held = gateway_.hold();
    primary->say(MessageKind::hello, {.generation = {1}});
    ASSERT_EQ(primary->next()->kind, MessageKind::welcome);
    Frame question = question_about(kGatewayAddress);
    question.resize(kMaxWireFrameBytes);
    const std::size_t questions = primary->fill_with(question);
    if (dies) {
        primary.reset();
    }
    backup.say(MessageKind::hello, {.generation = {2}});
    constexpr std::uint32_t kNameServer = 0x0a000203;
    backup.send_frame(question_about(kNameServer));
    held.unlock();
    std::size_t answers = 0;
    EXPECT_TRUE(backup.next_frame([&](std::span<const std::byte> frame) {
        answers += is_answer_about(kGatewayAddress, frame) ? 1 : 0;
        return is_answer_about(kNameServer, frame);
    }));
    EXPECT_EQ(answers, questions) << "of " << kMaxWireFrameBytes << " bytes each";
}

INSTANTIATE_TEST_SUITE_P(EndOfAVoice, EncryptedVoice, ::testing::Bool(),
                         [](const auto& end) { return end.param ? "dies" : "is_deposed"; });

TEST_F(EncryptedGateway, PlainTextStaysOnThisMachine) {
    const auto failure = [](const auto& what) -> std::string {
        try {
            what();
        } catch (const Error& error) {
            return error.what();
        }
        return "";
    };
    EXPECT_THAT(failure([] {
                    const Gateway gateway({.listen = {"0.0.0.0:0"}, .network = {}, .vm = {}},
                                          [](const GatewayEvent&) {});
                }),
                HasSubstr("0.0.0.0:0 is not: give --tls"));
    EXPECT_THAT(
        failure([&] {
            static_cast<void>(make_link(io_, {.endpoint = "gateway:192.0.2.1:7200", .vm = "kv"}, [](const Frame&) {}));
        }),
        HasSubstr("the gateway 192.0.2.1:7200 is not: give --tls"));
}

}  // namespace
}  // namespace understudy::network
