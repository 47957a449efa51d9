// All replicas of a site at once, as after a failure of its network.
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <memory>
#include <vector>

#include "arbiter/client/client.hpp"
#include "common/temporary_directory.hpp"
#include "tests/integration/arbiter/server_processes.hpp"
#include "tools/process/run.hpp"

namespace understudy::arbiter::testing {
namespace {

using std::chrono::seconds;

TEST(Crowd, UnderTlsIsLetIn) {
    constexpr std::size_t kReplicas = 400;
    const TemporaryDirectory directory;
    const auto tls = (directory.path() / "tls").string();
    const auto made = tools::run_to_end({understudy(), "init", "--out", tls, "--arbiter", "1", "--host", "test=*"});
    ASSERT_EQ(made.exit_status, 0) << made.errors;
    ServerProcesses servers(ServerProcesses::on_loopback(directory.path(), 1).places(), directory.path(), tls);
    servers.start_all();
    ASSERT_NE(servers.leader(), 0U) << servers.log(1);

    boost::asio::io_context io;
    std::vector<std::unique_ptr<Client>> replicas;
    std::size_t answered = 0;
    std::size_t in_vain = 0;
    for (std::size_t i = 0; i < kReplicas; ++i) {
        replicas.push_back(connect(io, servers.url()));
    }
    for (const auto& replica : replicas) {
        replica->read("vm", seconds(100), [&](const Outcome& outcome) {
            ++answered;
            in_vain += outcome.verdict == Verdict::unknown ? 1 : 0;
        });
    }
    while (answered < kReplicas && io.run_one() > 0) {
    }
    EXPECT_EQ(in_vain, 0U) << "of " << answered;
}

}  // namespace
}  // namespace understudy::arbiter::testing
