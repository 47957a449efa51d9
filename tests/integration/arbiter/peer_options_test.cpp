// What commands say of the cluster's servers, and is not so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <thread>

#include "common/temporary_directory.hpp"
#include "tests/integration/arbiter/server_processes.hpp"

namespace understudy::arbiter::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Each would have its own majority.
TEST(PeerOptions, OfAFirstStartAreTheSameOrTheServersStayStrangers) {
    const TemporaryDirectory directory;
    const TemporaryDirectory other_directory;
    auto servers = ServerProcesses::on_loopback(directory.path(), 3);
    ServerProcesses alone({{3, servers.places().at(3)}}, other_directory.path(), "");
    alone.start(3);
    ASSERT_EQ(alone.leader(), 3U) << alone.log(3);
    servers.start(1);
    servers.start(2);
    for (const bool restarted : {false, true}) {
        if (restarted) {
            alone.kill(3);
            alone.start(3);
        }
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (servers.log(1).find("began with a list") == std::string::npos &&
               std::chrono::steady_clock::now() < deadline) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        EXPECT_THAT(servers.log(1), HasSubstr("server 1 began with a list of servers other than"));
        EXPECT_THAT(servers.log(1), Not(HasSubstr("have met")));
        EXPECT_EQ(alone.leader(), 3U) << alone.log(3);
    }
}

TEST(PeerOptions, ThatDifferFromTheConfigurationAreNamedAtALaterStart) {
    const TemporaryDirectory directory;
    const TemporaryDirectory other_directory;
    auto servers = ServerProcesses::on_loopback(directory.path(), 1);
    const auto known = servers.places().at(1);
    servers.start(1);
    ASSERT_NE(servers.leader(), 0U) << servers.log(1);
    servers.kill(1);
    servers.start(1);
    ASSERT_NE(servers.leader(), 0U) << servers.log(1);
    servers.kill(1);
    EXPECT_THAT(servers.log(1), Not(HasSubstr("--peer")));

    auto moved = ServerProcesses::on_loopback(other_directory.path(), 1).places();
    moved.at(1).data = known.data;
    moved.at(1).more = {"--peer", "2=127.0.0.1:7002"};  // no member: another may have been removed, or be yet to come
    ServerProcesses later(moved, other_directory.path(), "");
    later.start(1);
    ASSERT_NE(later.leader(), 0U) << later.log(1);
    EXPECT_THAT(later.log(1), AllOf(HasSubstr("--peer 1=" + moved.at(1).address), HasSubstr(known.address)));
    EXPECT_THAT(later.log(1), Not(HasSubstr("--peer 2=")));
}

}  // namespace
}  // namespace understudy::arbiter::testing
