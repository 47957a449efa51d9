// How long answers take of a server that stands still, as who asks at a rate sees it, and who asks when it may.
#include "tools/bench/request_load.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "tests/unit/tools/error_of.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using testing::error_of;
using ::testing::HasSubstr;

// Answers one connection, request by request; stands still once, after so many.
class Server {
  public:
    Server(std::string answer, unsigned stands_still_after, std::chrono::milliseconds still)
        : answer_(std::move(answer)), after_(stands_still_after), still_(still), thread_([this] { serve(); }) {}
    ~Server() { thread_.join(); }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    [[nodiscard]] RequestLoad load(double rate) const {
        return {.host = "127.0.0.1", .port = port_, .connections = 1, .rate = rate, .warm_up = 0ms, .duration = 1000ms};
    }

  private:
    void serve() {
        tcp::socket client = acceptor_.accept();
        std::array<char, 4096> bytes{};
        boost::system::error_code error;
        for (unsigned requests = 1;; ++requests) {
            client.read_some(boost::asio::buffer(bytes), error);
            if (error) {
                return;
            }
            if (requests == after_) {
                std::this_thread::sleep_for(still_);
            }
            boost::asio::write(client, boost::asio::buffer(answer_), error);
        }
    }

    std::string answer_;
    unsigned after_;
    std::chrono::milliseconds still_;
    boost::asio::io_context io_;
    tcp::acceptor acceptor_{io_, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0)};
    std::uint16_t port_ = acceptor_.local_endpoint().port();
    std::thread thread_;
};

// Of a second, in which it stood still for 600 ms, more than half of the requests that were due waited.
TEST(RequestLoad, CountsTheTimeFromWhenARequestWasDue) {
    Server server("+OK\r\n", 100, 600ms);
    const auto figures = run_requests(server.load(500));
    EXPECT_EQ(figures.latency.count(), 500U);
    EXPECT_EQ(figures.unanswered, 0U);
    EXPECT_GT(figures.latency.quantile(0.5), 20ms);
    EXPECT_GT(figures.latency.quantile(0.99), 500ms);
}

TEST(RequestLoad, CountsWhatWasDueBeforeTheEndAlsoWhereItComesTooLateToSendIt) {
    Server server("+OK\r\n", 0, 0ms);
    RequestLoad load = server.load(1'000'000);
    load.warm_up = 0ms;
    load.duration = 20ms;
    EXPECT_EQ(run_requests(load).latency.count(), 20'000U);
}

// Who asks only when he has his answer finds one slow answer among many.
TEST(RequestLoad, WithoutARateAsksWhenItIsAnswered) {
    Server server("+OK\r\n", 100, 600ms);
    const auto figures = run_requests(server.load(0));
    EXPECT_GT(figures.answers, 200U);
    EXPECT_GE(figures.latency.quantile(1), 590ms);
    EXPECT_LT(figures.latency.quantile(0.5), 300ms);
}

TEST(RequestLoad, TakesNoOtherAnswer) {
    Server server("-ERR no\r\n", 0, 0ms);
    EXPECT_THAT(error_of([&] { static_cast<void>(run_requests(server.load(0))); }),
                HasSubstr("an answer that is none: -ERR no"));
}

// More connections than are begun at once, and the port of a server that is gone.
TEST(RequestLoad, SaysWhenNobodyListens) {
    boost::asio::io_context io;
    tcp::acceptor acceptor(io, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
    const RequestLoad load{.host = "127.0.0.1", .port = acceptor.local_endpoint().port(), .connections = 150};
    acceptor.close();
    EXPECT_THAT(error_of([&] { static_cast<void>(run_requests(load)); }), HasSubstr("Connection refused"));
}

TEST(LatencyHistogram, IsRightToOnePercentAtAnySize) {
    for (const std::int64_t ns : {1L, 999L, 123'456L, 98'765'432L, 60'000'000'000L}) {
        LatencyHistogram histogram;
        histogram.add(std::chrono::nanoseconds(ns));
        EXPECT_NEAR(static_cast<double>(histogram.quantile(0.5).count()), static_cast<double>(ns),
                    0.01 * static_cast<double>(ns));
    }
}

TEST(LatencyHistogram, HasTheQuantilesOfWhatItCounted) {
    LatencyHistogram low;
    LatencyHistogram high;
    for (int i = 1; i <= 1000; ++i) {
        (i <= 500 ? low : high).add(std::chrono::microseconds(i));
    }
    low.add(high);
    EXPECT_EQ(low.count(), 1000U);
    EXPECT_NEAR(static_cast<double>(low.quantile(0.5).count()), 500e3, 5e3);
    EXPECT_NEAR(static_cast<double>(low.quantile(0.99).count()), 990e3, 10e3);
    EXPECT_NEAR(static_cast<double>(low.quantile(1).count()), 1000e3, 10e3);
    EXPECT_EQ(LatencyHistogram().quantile(0.9).count(), 0);
}

}  // namespace
}  // namespace understudy::tools
