// What the demonstration stands on: processes that do not stay behind, a network that can be cut, a verdict that is not
// given away.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "common/address.hpp"
#include "tests/unit/tools/error_of.hpp"
#include "tests/unit/tools/verifier/fake_postgres.hpp"
#include "tools/demo/relay.hpp"
#include "tools/demo/report.hpp"
#include "tools/demo/stage.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using testing::error_of;
using ::testing::HasSubstr;

TEST(Stage, NoticesAProcessThatShouldRunAndDoesNot) {
    Stage stage;
    const auto child = stage.start("server", {"sh", "-c", "echo 'no port' >&2; exit 1"}, [](std::string_view) {});
    stage.expect("server", child);
    EXPECT_EQ(error_of([&] { stage.until([] { return false; }, 10s, "Godot"); }),
              "server ended with status 1: no port");
    stage.dismiss(child);
    EXPECT_EQ(error_of([&] { stage.until([] { return false; }, 10ms, "Godot"); }), "waited 0.0 s for Godot");
}

// A server that sends back what it gets, for one connection.
class Relayed : public ::testing::Test {
  protected:
    explicit Relayed(Relay::Line line = {})
        : acceptor_(io_, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0)) {
        relay_.emplace("127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()), line);
        acceptor_.async_accept(server_, [this](boost::system::error_code error) {
            ASSERT_FALSE(error);
            echo();
        });
        client_.connect({boost::asio::ip::address_v4::loopback(), parse_address(relay_->address()).port});
    }

    void echo() {
        server_.async_read_some(boost::asio::buffer(bytes_), [this](boost::system::error_code error, std::size_t size) {
            if (!error) {
                boost::asio::write(server_, boost::asio::buffer(bytes_, size));
                echo();
            }
        });
    }

    // What the client has received after `duration`, and whether the connection is still there.
    std::pair<std::string, bool> receive(std::chrono::milliseconds duration, std::size_t wanted) {
        std::string got;
        bool open = true;
        std::array<char, 256> buffer{};
        const std::function<void()> read = [&] {
            client_.async_read_some(boost::asio::buffer(buffer),
                                    [&](boost::system::error_code error, std::size_t size) {
                                        got.append(buffer.data(), size);
                                        if (error) {
                                            open = error == boost::asio::error::operation_aborted;
                                        } else if (got.size() < wanted) {
                                            read();
                                        }
                                    });
        };
        read();
        const auto deadline = std::chrono::steady_clock::now() + duration;
        while (open && got.size() < wanted && std::chrono::steady_clock::now() < deadline) {
            io_.run_one_until(deadline);
        }
        client_.cancel();
        io_.poll();
        return {got, open};
    }

    boost::asio::io_context io_;
    tcp::acceptor acceptor_;
    tcp::socket server_{io_};
    tcp::socket client_{io_};
    std::optional<Relay> relay_;
    std::array<char, 256> bytes_{};
};

TEST_F(Relayed, BytesPassBothWays) {
    boost::asio::write(client_, boost::asio::buffer("hello", 5));
    EXPECT_EQ(receive(10s, 5), std::pair(std::string("hello"), true));
    EXPECT_EQ(relay_->bytes_forwarded(), 10U);
}

TEST_F(Relayed, NothingPassesWhenStalledAndTheConnectionStaysOpen) {
    boost::asio::write(client_, boost::asio::buffer("hello", 5));
    ASSERT_EQ(receive(10s, 5).first, "hello");
    relay_->stall();
    boost::asio::write(client_, boost::asio::buffer("lost", 4));
    EXPECT_EQ(receive(100ms, 1), std::pair(std::string(), true));
    EXPECT_EQ(relay_->bytes_forwarded(), 10U);
}

TEST_F(Relayed, TheConnectionBreaksWhenCut) {
    boost::asio::write(client_, boost::asio::buffer("hello", 5));
    ASSERT_EQ(receive(10s, 5).first, "hello");
    relay_->cut();
    EXPECT_EQ(receive(10s, 1), std::pair(std::string(), false));
}

constexpr auto kDelay = 30ms;

class FarAway : public Relayed {
  protected:
    FarAway() : Relayed({.delay = kDelay, .per_second = {}}) {}
};

// However much is under way: what is sent later does not wait for what was sent before to arrive.
TEST_F(FarAway, BytesTakeTheDelayEachWayAndKeepTheirOrder) {
    std::string sent;
    const auto start = std::chrono::steady_clock::now();
    for (char c = 'a'; c <= 'z'; ++c) {
        boost::asio::write(client_, boost::asio::buffer(&c, 1));
        sent += c;
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(receive(10s, sent.size()), std::pair(sent, true));
    EXPECT_GE(std::chrono::steady_clock::now() - start, 2 * kDelay);
}

class OnANarrowLine : public Relayed {
  protected:
    static constexpr Bytes kPerSecond{10'000};
    OnANarrowLine() : Relayed({.delay = {}, .per_second = kPerSecond}) {}
};

TEST_F(OnANarrowLine, BytesTakeTheirTime) {
    const std::string sent(kPerSecond.value / 10, 'x');
    const auto start = std::chrono::steady_clock::now();
    boost::asio::write(client_, boost::asio::buffer(sent));
    EXPECT_EQ(receive(10s, sent.size()), std::pair(sent, true));
    EXPECT_GE(std::chrono::steady_clock::now() - start, 100ms);
}

// A peer that says goodbye and hangs up is heard, however far away it is.
TEST_F(FarAway, WhatWasSentBeforeTheEndArrives) {
    boost::asio::write(client_, boost::asio::buffer("goodbye", 7));
    client_.shutdown(tcp::socket::shutdown_send);
    EXPECT_EQ(receive(10s, 7).first, "goodbye");
}

class OutOfReach : public Relayed {
  protected:
    OutOfReach() : Relayed({.delay = 1h, .per_second = {}}) {}
};

TEST_F(OutOfReach, WhatIsUnderWayKeepsNothingElseFromBeingSent) {
    for (std::uint64_t sent = 1; sent <= 10; ++sent) {
        boost::asio::write(client_, boost::asio::buffer("x", 1));
        while (relay_->bytes_forwarded() < sent) {
        }
    }
}

TEST(Relay, NeedsANumericAddressWithAPort) {
    EXPECT_THAT(error_of([] { const Relay relay("127.0.0.1"); }), HasSubstr("no port"));
    EXPECT_THAT(error_of([] { const Relay relay("example.org:80"); }), HasSubstr("no numeric address"));
}

Report good() {
    Report report;
    report.seed = 7;
    report.longest_gap_ms = 143.25;
    report.compared_stops = 1000;
    report.rounds.push_back({.fault = Fault::kill,
                             .gap_ms = 120.5,
                             .takeover_ms = 21.25,
                             .acked_writes = 500,
                             .generation = 2,
                             .went_on = "host 2",
                             .lag_records = 3,
                             .phases = {1.5, 2, 2.5, {}, 4.125}});
    report.rounds.push_back({.fault = Fault::partition,
                             .gap_ms = 143.25,
                             .takeover_ms = {},
                             .acked_writes = 400,
                             .generation = 3,
                             .went_on = "host 2",
                             .lag_records = 0});
    return report;
}

TEST(Report, HasTheDocumentedJsonForm) {
    EXPECT_EQ(
        good().to_json(),
        R"({"rounds":[{"fault":"kill","gap_ms":120.5,"takeover_ms":21.2,"acked_writes":500,"lost_acked_writes":0,)"
        R"("contradictions":0,"dropped_connections":0,"generation":2,"went_on":"host 2","lag_records":3,"noticed":false,)"
        R"("phases":{"detected_ms":1.500,"decided_ms":2.000,"live_ms":2.500,"spoke_ms":null,"answered_ms":4.125}},)"
        R"({"fault":"partition","gap_ms":143.2,"takeover_ms":null,"acked_writes":400,"lost_acked_writes":0,)"
        R"("contradictions":0,"dropped_connections":0,"generation":3,"went_on":"host 2","lag_records":0,"noticed":false,)"
        R"("phases":{"detected_ms":null,"decided_ms":null,"live_ms":null,"spoke_ms":null,"answered_ms":null}}],)"
        R"("seed":7,"longest_gap_ms":143.2,"unplanned_failovers":0,"compared_stops":1000,"divergences":0,"finding":"","failure":"","ok":true})");
    EXPECT_THAT(good().to_text(), HasSubstr("verdict: the guest survived"));
}

TEST(Report, IsOkOnlyWhenEveryPromiseWasSeenToHold) {
    const auto broken = [](auto change) {
        Report report = good();
        change(report);
        EXPECT_FALSE(report.ok());
        EXPECT_THAT(report.to_json(), HasSubstr("\"ok\":false"));
        EXPECT_THAT(report.to_text(), HasSubstr("verdict: FAILED"));
        return report.broken_promises().front();
    };
    EXPECT_TRUE(good().ok());
    EXPECT_EQ(broken([](Report& r) { r.rounds[1].lost_acked_writes = 2; }), "2 acknowledged writes were lost");
    EXPECT_EQ(broken([](Report& r) { r.rounds[0].dropped_connections = 1; }), "1 connections were dropped");
    EXPECT_EQ(broken([](Report& r) { r.rounds[0].contradictions = 1; }), "1 answers contradict earlier ones");
    EXPECT_EQ(broken([](Report& r) { r.divergences = 1; }), "a replay differed from its recording at 1 stops");
    EXPECT_EQ(broken([](Report& r) { r.finding = "a:1 is gone"; }), "the first finding: a:1 is gone");
    EXPECT_EQ(broken([](Report& r) { r.failure = "waited"; }), "waited");
    EXPECT_THAT(broken([](Report& r) { r.rounds[0].acked_writes = 0; }), HasSubstr("without an acknowledged write"));
    EXPECT_THAT(broken([](Report& r) { r.rounds.clear(); }), HasSubstr("without an acknowledged write"));
    EXPECT_THAT(broken([](Report& r) { r.compared_stops = 0; }), HasSubstr("no replay was compared"));
}

Round of_flip(Flip flip) {
    Round round;
    round.fault = Fault::flip;
    round.flip = flip;
    round.acked_writes = 100;
    return round;
}

Report of_flips(const std::vector<Flip>& flips) {
    Report report = good();
    report.rounds.clear();
    for (const Flip flip : flips) {
        report.rounds.push_back(of_flip(flip));
    }
    return report;
}

TEST(Report, ADivergenceIsOfTheFlipThatNobodyHadNoticedHoweverLate) {
    Report report = of_flips({Flip::hidden});
    report.count_divergences(1);
    report.rounds.push_back(of_flip(Flip::hidden));
    report.count_divergences(1);
    EXPECT_EQ(report.rounds.back().flip, Flip::hidden) << "that one was the first's";
    report.rounds.push_back(of_flip(Flip::none));
    report.count_divergences(2);
    EXPECT_EQ(report.rounds[1].flip, Flip::noticed);
    EXPECT_TRUE(report.ok()) << report.to_text();
    EXPECT_THAT(report.to_text(), HasSubstr("2, 2\n"));
    report.count_divergences(3);
    EXPECT_EQ(report.divergences, 1U) << "no flip is left that would explain it";
    EXPECT_FALSE(report.ok());
}

TEST(Report, AReplicaThatBeginsAnewTakesNoFlipAlong) {
    Report report = of_flips({Flip::hidden, Flip::hidden});
    report.count_divergences(2);
    EXPECT_EQ(report.divergences, 1U);
    EXPECT_EQ(report.rounds[0].flip, Flip::gone);
    EXPECT_EQ(report.rounds[1].flip, Flip::noticed);
}

TEST(Report, FlipsThatNobodyNoticesBreakThePromise) {
    EXPECT_THAT(of_flips({Flip::hidden, Flip::hidden}).broken_promises(),
                ::testing::ElementsAre("nobody noticed any of 2 flipped bits"));
    EXPECT_TRUE(of_flips({Flip::gone, Flip::noticed, Flip::hidden}).ok());
}

TEST(Report, HasWhatWasFoundInARoundThatWasBrokenOff) {
    Stage stage;
    GuestDescription guest = describe(GuestKind::postgres);
    guest.rate = 0;
    std::optional<testing::FakePostgres> server(testing::Wrong::lose);
    Load clients(stage, guest, parse_address(server->address()).port);
    clients.start(10s);
    clients.mark_fault();
    while (clients.first_finding().empty()) {
        static_cast<void>(clients.gap_since_fault(10s));
    }
    server.reset();
    EXPECT_THAT(error_of([&] { static_cast<void>(clients.check(10ms)); }), HasSubstr("clients still wait"));
    Report report;
    report.rounds.emplace_back();
    report.conclude(clients);
    EXPECT_EQ(report.rounds.back().lost_acked_writes, 1U);
    EXPECT_GT(report.rounds.back().acked_writes, 0U);
    EXPECT_THAT(report.to_json(), HasSubstr("\"gap_ms\":null"));
    EXPECT_THAT(report.to_json(), HasSubstr("\"finding\":\"teller "));
}

}  // namespace
}  // namespace understudy::tools
