// The etcd engine against three real etcd nodes, one of which is killed under load.
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <optional>

#include "arbiter/client/engines.hpp"
#include "common/temporary_directory.hpp"
#include "tests/integration/arbiter/contest.hpp"
#include "tools/bench/arbiter_clusters.hpp"
#include "tools/process/run.hpp"

namespace understudy::arbiter::testing {
namespace {

using std::chrono::milliseconds;

TEST(Etcd, DecidesThroughTheDeathOfANode) {
    if (tools::run_to_end({"sh", "-c", "command -v etcd"}).exit_status != 0) {
        GTEST_SKIP() << "etcd is not installed (Debian: etcd-server)";
    }
    const TemporaryDirectory directory("understudy-etcd");
    tools::BenchedEtcd etcd(directory.path());
    Contests contests(etcd.url(), 4);
    ASSERT_TRUE(contests.advance(3));
    for (std::size_t i = 0; i < tools::kBenchedServers; ++i) {
        etcd.kill(i);
        ASSERT_TRUE(contests.advance(2)) << "no decisions after the death of a node";
        etcd.start(i);
        ASSERT_TRUE(contests.advance(2));
    }
    EXPECT_EQ(contests.verdict(), "");

    boost::asio::io_context io;
    const auto client = connect(io, etcd.url());
    std::size_t listed = 0;
    std::optional<Verdict> second_claim;
    client->list(milliseconds(5000), [&](Verdict, const auto& vms, const std::string&) { listed = vms.size(); });
    client->form({"vm0", {0}, {1}, "other", {"other"}}, milliseconds(5000),
                 [&](const Outcome& outcome) { second_claim = outcome.verdict; });
    while (!second_claim) {
        io.run_one();
    }
    EXPECT_EQ(listed, 4U);
    EXPECT_EQ(second_claim, Verdict::no);
}

}  // namespace
}  // namespace understudy::arbiter::testing
