// The verifying client against small servers on loopback: an honest one, and one for each thing it must catch.
#include "tools/verifier/verifier.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <functional>
#include <memory>
#include <thread>

#include "common/error.hpp"
#include "tests/unit/tools/verifier/fake_store.hpp"

namespace understudy::tools {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using testing::FakeStore;
using testing::Fault;
using namespace std::chrono_literals;

class FakeServer {
  public:
    explicit FakeServer(Fault fault = {})
        : acceptor_(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)), store_(std::move(fault)) {
        accept();
        thread_ = std::thread([this] { io_.run(); });
    }
    ~FakeServer() {
        io_.stop();
        thread_.join();
    }
    FakeServer(const FakeServer&) = delete;
    FakeServer& operator=(const FakeServer&) = delete;

    std::string address() const { return "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()); }

    // Answers nothing until resume(): a takeover, seen from outside.
    void pause() {
        asio::post(io_, [this] { paused_ = true; });
    }
    void resume() {
        asio::post(io_, [this] {
            paused_ = false;
            for (const auto& session : std::exchange(waiting_, {})) {
                session();
            }
        });
    }

  private:
    struct Session : std::enable_shared_from_this<Session> {
        Session(FakeServer& owner, tcp::socket connected) : server(owner), socket(std::move(connected)) {}

        void read() {
            socket.async_read_some(asio::buffer(buffer),
                                   [self = shared_from_this()](error_code error, std::size_t size) {
                                       if (!error) {
                                           self->requests.append(self->buffer.data(), size);
                                           self->answer();
                                       }
                                   });
        }

        void answer() {
            if (server.paused_) {
                server.waiting_.emplace_back([self = shared_from_this()] { self->answer(); });
                return;
            }
            std::string answers;
            while (true) {
                const auto words = testing::take_request(requests);
                if (words.empty()) {
                    break;
                }
                answers += testing::encode(server.store_.execute(words));
                if (server.store_.take_drop()) {
                    return;  // the last reference goes, the socket closes
                }
            }
            asio::write(socket, asio::buffer(answers));
            read();
        }

        FakeServer& server;
        tcp::socket socket;
        std::array<char, 4096> buffer{};
        std::string requests;
    };

    void accept() {
        acceptor_.async_accept([this](error_code error, tcp::socket socket) {
            if (!error) {
                std::make_shared<Session>(*this, std::move(socket))->read();
                accept();
            }
        });
    }

    asio::io_context io_;
    tcp::acceptor acceptor_;
    FakeStore store_;
    bool paused_ = false;
    std::vector<std::function<void()>> waiting_;
    std::thread thread_;
};

VerifierConfig config_for(const FakeServer& server) {
    return {.server = server.address(), .connections = 8, .keys_per_connection = 6, .rate = 0};
}

void wait_until(const std::function<bool()>& condition) {
    while (!condition()) {
        std::this_thread::sleep_for(1ms);
    }
}

void write_some(Verifier& verifier, std::uint64_t writes = 2000) {
    const auto before = verifier.since_start().acknowledged_writes;
    wait_until([&] { return verifier.since_start().acknowledged_writes >= before + writes; });
}

TEST(Verifier, AnHonestServerPasses) {
    FakeServer server;
    Verifier verifier(config_for(server));
    verifier.start();
    write_some(verifier);
    EXPECT_TRUE(verifier.check());
    write_some(verifier);
    EXPECT_TRUE(verifier.final_check());
    const auto figures = verifier.since_start();
    EXPECT_TRUE(figures.clean()) << figures.first_finding;
    EXPECT_GE(figures.acknowledged_writes, 4000U);
    EXPECT_GT(figures.answers, figures.acknowledged_writes);
    EXPECT_EQ(figures.unanswered, 0U);
    EXPECT_LE(figures.latency_p50, figures.latency_p99);
    EXPECT_LE(figures.latency_p99, figures.latency_p999);
}

struct Catch {
    Fault fault;
    std::uint64_t lost;
    std::uint64_t contradictions;
    std::uint64_t dropped;
};

class VerifierCatches : public ::testing::TestWithParam<Catch> {};

TEST_P(VerifierCatches, WhatTheServerDoesWrong) {
    FakeServer server(GetParam().fault);
    Verifier verifier(config_for(server));
    verifier.start();
    write_some(verifier);
    EXPECT_TRUE(verifier.final_check());
    const auto figures = verifier.since_start();
    EXPECT_EQ(figures.lost_acknowledged_writes, GetParam().lost) << figures.first_finding;
    EXPECT_EQ(figures.contradictions, GetParam().contradictions) << figures.first_finding;
    EXPECT_EQ(figures.dropped_connections, GetParam().dropped) << figures.first_finding;
    EXPECT_FALSE(figures.clean());
    EXPECT_FALSE(figures.first_finding.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Faults, VerifierCatches,
    ::testing::Values(Catch{{.kind = Fault::Kind::lose_write, .at_write = 300, .command = "SET"}, 1, 0, 0},
                      Catch{{.kind = Fault::Kind::lose_write, .at_write = 300, .command = "INCR"}, 1, 0, 0},
                      Catch{{.kind = Fault::Kind::repeat_write, .at_write = 300, .command = "INCR"}, 0, 1, 0},
                      Catch{{.kind = Fault::Kind::repeat_write, .at_write = 300, .command = "APPEND"}, 0, 1, 0},
                      Catch{{.kind = Fault::Kind::answer_error, .at_write = 300}, 0, 1, 0},
                      Catch{{.kind = Fault::Kind::drop_connection, .at_write = 300}, 0, 0, 1}));

TEST(Verifier, AGapCountsWhileItLastsAndInItsWindowOnly) {
    FakeServer server;
    auto config = config_for(server);
    config.rate = 5000;
    Verifier verifier(config);
    verifier.start();
    write_some(verifier, 100);
    server.pause();
    // Every connection comes to wait for an answer; the wait shows before it is over.
    wait_until([&] { return verifier.since_start().unanswered == 8; });
    wait_until([&] { return verifier.since_start().longest_gap >= 50ms; });
    verifier.mark();
    server.resume();
    wait_until([&] { return verifier.since_mark().answers >= 8; });
    EXPECT_GE(verifier.since_start().longest_gap, 50ms);
    verifier.mark();
    const auto window = verifier.since_mark();
    EXPECT_LE(window.longest_gap, window.duration);
    EXPECT_TRUE(verifier.final_check());
    EXPECT_TRUE(verifier.since_start().clean());
}

TEST(Verifier, AServerThatDoesNotAnswerFailsTheCheck) {
    FakeServer server;
    Verifier verifier(config_for(server));
    verifier.start();
    server.pause();
    wait_until([&] { return verifier.since_start().unanswered == 8; });
    EXPECT_FALSE(verifier.final_check(20ms));
}

TEST(Verifier, AServerThatIsNotThereIsAnErrorThatNamesIt) {
    std::string address;
    {
        const FakeServer gone;
        address = gone.address();
    }
    Verifier verifier({.server = address, .connections = 2});
    try {
        verifier.start(50ms);
        FAIL();
    } catch (const Error& error) {
        EXPECT_THAT(error.what(), ::testing::HasSubstr(address));
        EXPECT_THAT(error.what(), ::testing::HasSubstr("refused"));
    }
    EXPECT_THROW(Verifier({.server = "nowhere"}), Error);
    EXPECT_THROW(Verifier({.server = "127.0.0.1:1", .connections = 0}), Error);
}

}  // namespace
}  // namespace understudy::tools
