#include "hypervisor/replication/loop/periodic.hpp"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <optional>
#include <vector>

namespace understudy::replication {
namespace {

using namespace std::chrono_literals;

TEST(Periodic, CallsAgainAndAgain) {
    boost::asio::io_context io;
    int calls = 0;
    Periodic periodic(io, 1ms, [&] {
        if (++calls == 5) {
            io.stop();
        }
    });
    io.run();
    EXPECT_EQ(calls, 5);
}

TEST(Periodic, ACallFarAwayIsNotHastened) {
    boost::asio::io_context io;
    int calls = 0;
    Periodic periodic(io, 1h, [&] { ++calls; });
    periodic.hasten();
    io.poll();
    EXPECT_EQ(calls, 0);
}

TEST(Periodic, ACallThatIsNearComesAtOnceAndNotTwice) {
    boost::asio::io_context io;
    int calls = 0;
    // Half of the interval is over when the hastening begins, the other half is still to come at its end.
    const auto interval = 400ms;
    Periodic periodic(io, interval, [&] { ++calls; });
    boost::asio::steady_timer half(io, interval / 2);
    half.async_wait([&](const boost::system::error_code&) {
        periodic.hasten();
        periodic.hasten();
        boost::asio::post(io, [&] { boost::asio::post(io, [&] { io.stop(); }); });
    });
    const auto begin = Periodic::Clock::now();
    io.run();
    if (Periodic::Clock::now() - begin > interval * 3 / 4) {
        GTEST_SKIP() << "this machine was too busy to tell a hastened call from a punctual one";
    }
    EXPECT_EQ(calls, 1);
}

TEST(Periodic, ACallMayAskForTheNextOneSooner) {
    boost::asio::io_context io;
    const auto interval = 200ms;
    std::vector<Periodic::Clock::time_point> calls;
    std::size_t calls_halfway = 0;
    boost::asio::steady_timer halfway(io);
    std::optional<Periodic> periodic;
    periodic.emplace(io, interval, [&] {
        calls.push_back(Periodic::Clock::now());
        if (calls.size() == 1) {
            periodic->not_after(calls.front() + 1ms);
            halfway.expires_at(calls.front() + interval / 2);
            halfway.async_wait([&](const boost::system::error_code&) { calls_halfway = calls.size(); });
        } else if (calls.size() == 3) {
            io.stop();
        }
    });
    io.run();
    EXPECT_EQ(calls_halfway, 2U);
    EXPECT_GE(calls[1] - calls[0], 1ms);
    EXPECT_GE(calls[2] - calls[1], interval) << "it was for the next one alone";
}

// Both timers have expired when the first handler runs: the second one's is queued by then.
TEST(Periodic, NothingIsCalledAfterItsEnd) {
    boost::asio::io_context io;
    int calls = 0;
    std::optional<Periodic> periodic;
    boost::asio::steady_timer end(io, 0ms);
    end.async_wait([&](const boost::system::error_code&) { periodic.reset(); });
    periodic.emplace(io, 0ms, [&] { ++calls; });
    io.run();
    EXPECT_EQ(calls, 0);
}

}  // namespace
}  // namespace understudy::replication
