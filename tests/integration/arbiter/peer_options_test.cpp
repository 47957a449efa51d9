// What the command of a later start says of the cluster's servers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "common/temporary_directory.hpp"
#include "tests/integration/arbiter/server_processes.hpp"

namespace understudy::arbiter::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

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
