// A crowd before the listener, of which most have left by the time they are let in.
#include "arbiter/server/listener.hpp"

#include <gtest/gtest.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/unit/arbiter/event_loop.hpp"

namespace understudy::arbiter {
namespace {

using boost::asio::ip::tcp;

TEST(Listener, TakesOnlyThoseOfACrowdWhoStillWait) {
    constexpr std::size_t kGone = 120;
    constexpr std::size_t kWaiting = 30;  // fewer than are let in at once
    boost::asio::io_context io;
    std::vector<tcp::socket> taken;
    const Listener listener(io, {"127.0.0.1", 0}, true, "--listen",
                            [&](tcp::socket socket) { taken.push_back(std::move(socket)); });
    const tcp::endpoint endpoint(boost::asio::ip::make_address("127.0.0.1"), listener.port());
    const auto knock = [&](std::string_view first_words) {
        tcp::socket socket(io);
        socket.connect(endpoint);
        boost::asio::write(socket, boost::asio::buffer(first_words.data(), first_words.size()));
        return socket;
    };
    for (std::size_t i = 0; i < kGone; ++i) {
        static_cast<void>(knock(i % 2 == 0 ? "a ClientHello" : ""));
    }
    std::vector<tcp::socket> waiting;
    for (std::size_t i = 0; i < kWaiting; ++i) {
        waiting.push_back(knock(i % 2 == 0 ? "a ClientHello" : ""));
    }
    ASSERT_TRUE(testing::run_until(
        io, [&] { return !taken.empty() && taken.back().remote_endpoint() == waiting.back().local_endpoint(); }));
    EXPECT_EQ(taken.size(), kWaiting);
}

}  // namespace
}  // namespace understudy::arbiter
