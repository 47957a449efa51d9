// The etcd engine against three real etcd nodes, one of which is killed under load.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "tests/integration/arbiter/contest.hpp"
#include "tests/integration/arbiter/process.hpp"
#include "tests/temporary_directory.hpp"

namespace understudy::arbiter::testing {
namespace {

using std::chrono::milliseconds;

TEST(Etcd, DecidesThroughTheDeathOfANode) {
    if (run({"sh", "-c", "command -v etcd"}).status != 0) {
        GTEST_SKIP() << "etcd is not installed (Debian: etcd-server)";
    }
    const TemporaryDirectory directory;
    std::vector<std::uint16_t> clients;
    std::vector<std::uint16_t> peers;
    std::string initial;
    std::string url;
    for (int i = 0; i < 3; ++i) {
        clients.push_back(free_port());
        peers.push_back(free_port());
        initial += fmt::format("{}e{}=http://127.0.0.1:{}", i == 0 ? "" : ",", i, peers.back());
        url += fmt::format("{}127.0.0.1:{}", i == 0 ? "etcd://" : ",", clients.back());
    }
    std::vector<std::unique_ptr<Process>> nodes(3);
    const auto start = [&](std::size_t i) {
        const auto client = fmt::format("http://127.0.0.1:{}", clients[i]);
        const auto peer = fmt::format("http://127.0.0.1:{}", peers[i]);
        nodes[i] = std::make_unique<Process>(
            std::vector<std::string>{"etcd", "--name", fmt::format("e{}", i), "--data-dir",
                                     (directory.path() / fmt::format("etcd{}", i)).string(), "--listen-client-urls",
                                     client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
                                     "--initial-advertise-peer-urls", peer, "--initial-cluster", initial},
            directory.path() / fmt::format("etcd{}.log", i));
    };
    for (std::size_t i = 0; i < 3; ++i) {
        start(i);
    }
    Contests contests(url, 4);
    ASSERT_TRUE(contests.advance(3)) << nodes[0]->output();
    for (std::size_t i = 0; i < 3; ++i) {
        nodes[i].reset();
        ASSERT_TRUE(contests.advance(2)) << "no decisions after the death of a node";
        start(i);
        ASSERT_TRUE(contests.advance(2));
    }
    EXPECT_EQ(contests.verdict(), "");

    boost::asio::io_context io;
    const auto client = connect(io, url);
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
