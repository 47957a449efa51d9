// The verifying client against a server of PostgreSQL's protocol on loopback: an honest one, and one for each thing
// that it must catch.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "common/address.hpp"
#include "common/error.hpp"
#include "tests/unit/tools/verifier/fake_postgres.hpp"
#include "tools/verifier/postgres_connection.hpp"
#include "tools/verifier/verifier.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using testing::FakePostgres;
using testing::kWrongAt;
using testing::Wrong;

// Waits for one connection.
class Listener final : public VerifierConnection::Owner {
  public:
    explicit Listener(boost::asio::io_context& io) : io_(io) {}
    void on_idle(VerifierConnection& /*connection*/) override {
        connected = true;
        io_.stop();
    }
    void on_answer(const Judgement& /*judgement*/, VerifierConnection::Clock::time_point /*sent_at*/,
                   VerifierConnection::Clock::time_point /*waiting_since*/,
                   VerifierConnection::Clock::time_point /*now*/) override {}
    void on_contradiction(const std::string& /*finding*/) override {}
    void on_drop(const std::string& /*why*/) override {}
    void on_refusal(const std::string& why) override { refusal = why; }

    bool connected = false;
    std::string refusal;

  private:
    boost::asio::io_context& io_;
};

VerifierConfig config_for(const std::string& address) {
    return {.server = address, .protocol = Protocol::postgres, .connections = 4, .rate = 0};
}

VerifierFigures verify(Wrong wrong) {
    const FakePostgres server(wrong);
    Verifier verifier(config_for(server.address()));
    verifier.start();
    while (verifier.since_start().acknowledged_writes < 2 * kWrongAt) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_TRUE(verifier.check());
    EXPECT_TRUE(verifier.final_check());
    return verifier.since_start();
}

TEST(PostgresVerifier, AnHonestServerPasses) {
    const VerifierFigures figures = verify(Wrong::nothing);
    EXPECT_TRUE(figures.clean()) << figures.first_finding;
    EXPECT_EQ(figures.unanswered, 0U);
}

struct Catch {
    Wrong wrong;
    std::uint64_t lost;
    std::uint64_t contradictions;
    std::uint64_t dropped;
};

class PostgresVerifierCatches : public ::testing::TestWithParam<Catch> {};

TEST_P(PostgresVerifierCatches, WhatTheServerDoesWrong) {
    const VerifierFigures figures = verify(GetParam().wrong);
    EXPECT_EQ(figures.lost_acknowledged_writes, GetParam().lost) << figures.first_finding;
    EXPECT_EQ(figures.contradictions, GetParam().contradictions) << figures.first_finding;
    EXPECT_EQ(figures.dropped_connections, GetParam().dropped) << figures.first_finding;
    EXPECT_FALSE(figures.first_finding.empty());
}

INSTANTIATE_TEST_SUITE_P(Faults, PostgresVerifierCatches,
                         ::testing::Values(Catch{Wrong::lose, 1, 0, 0}, Catch{Wrong::lose_the_line, 1, 0, 0},
                                           Catch{Wrong::repeat, 0, 1, 0}, Catch{Wrong::fail, 0, 1, 0},
                                           Catch{Wrong::drop, 0, 0, 1}, Catch{Wrong::answer_twice, 0, 1, 0}));

// "localhost" is ::1 first where there is IPv6, and the server may listen on the other.
TEST(PostgresVerifier, TriesEveryAddressOfAServer) {
    const FakePostgres server;
    const auto port = static_cast<std::uint16_t>(parse_address(server.address()).port);
    boost::asio::io_context io;
    const boost::asio::ip::tcp::endpoint closed(boost::asio::ip::make_address("127.0.0.2"), port);
    const boost::asio::ip::tcp::endpoint open(boost::asio::ip::address_v4::loopback(), port);
    const std::vector<boost::asio::ip::tcp::endpoint> both{closed, open};
    const auto endpoints =
        VerifierConnection::Endpoints::create(both.begin(), both.end(), "server", std::to_string(port));
    Listener listener(io);
    PostgresConnection connection(listener, io, endpoints, LedgerModel("verify_endpoints", 0, 1));
    connection.connect();
    io.run_for(10s);  // the listener ends it
    EXPECT_TRUE(listener.connected) << listener.refusal;
    connection.close();
}

TEST(PostgresVerifier, AServerThatIsNotThereIsAnErrorThatNamesIt) {
    std::string address;
    {
        const FakePostgres gone;
        address = gone.address();
    }
    Verifier verifier(config_for(address));
    try {
        verifier.start(50ms);
        FAIL();
    } catch (const Error& error) {
        EXPECT_THAT(error.what(), ::testing::HasSubstr(address));
        EXPECT_THAT(error.what(), ::testing::HasSubstr("refused"));
    }
}

}  // namespace
}  // namespace understudy::tools
