// The metrics page over a real socket on loopback.
#include "arbiter/server/metrics_endpoint.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <string>

#include "tests/unit/arbiter/event_loop.hpp"

namespace understudy::arbiter {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using ::testing::EndsWith;
using ::testing::HasSubstr;

class MetricsPage : public ::testing::Test {
  protected:
    tcp::socket scraper() {
        tcp::socket socket(io_);
        socket.connect({boost::asio::ip::make_address("127.0.0.1"), endpoint_.port()});
        return socket;
    }

    // All that the endpoint says until it closes.
    std::string answer(tcp::socket& socket) {
        std::string text;
        bool closed = false;
        boost::asio::async_read(socket, boost::asio::dynamic_buffer(text),
                                [&](boost::system::error_code /*error*/, std::size_t /*size*/) { closed = true; });
        EXPECT_TRUE(testing::run_until(io_, [&] { return closed; }));
        return text;
    }

    std::string scrape() {
        auto socket = scraper();
        boost::asio::write(socket, boost::asio::buffer(std::string("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")));
        return answer(socket);
    }

    boost::asio::io_context io_;
    int pages_ = 0;
    MetricsEndpoint endpoint_{
        io_, {"127.0.0.1", 0}, nullptr, [this] { return "page " + std::to_string(++pages_) + "\n"; }};
};

TEST_F(MetricsPage, IsMadeAnewForEveryRequest) {
    EXPECT_THAT(scrape(), EndsWith("\r\n\r\npage 1\n"));
    const auto second = scrape();
    EXPECT_THAT(second, EndsWith("\r\n\r\npage 2\n"));
    EXPECT_THAT(second, HasSubstr("Content-Length: 7\r\n"));
}

TEST_F(MetricsPage, IsNotForWhoTalksTooLongOrTooSlowly) {
    auto endless = scraper();
    boost::asio::write(endless, boost::asio::buffer(std::string(4096, 'a')));
    EXPECT_EQ(answer(endless), "");
    auto silent = scraper();
    EXPECT_EQ(answer(silent), "");
    EXPECT_EQ(pages_, 0);
}

// Out of descriptors nothing can be accepted, nor does waiting for it take the processor from the rest of the server.
TEST_F(MetricsPage, WaitsWhileThereAreNoDescriptors) {
    auto socket = scraper();
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit none{3, before.rlim_max};  // no more than what every process has
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    const auto turns = io_.run_for(300ms);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_LT(turns, 20U);
    boost::asio::write(socket, boost::asio::buffer(std::string("GET / HTTP/1.1\r\n\r\n")));
    EXPECT_THAT(answer(socket), EndsWith("page 1\n"));
}

}  // namespace
}  // namespace understudy::arbiter
