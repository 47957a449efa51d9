// A server's start, as far as it gets.
#include "arbiter/server/server.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <filesystem>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"

namespace understudy::arbiter {
namespace {

using boost::asio::ip::tcp;

class ServerStart : public ::testing::Test {
  protected:
    [[nodiscard]] std::uint16_t taken_port() const { return holder_.local_endpoint().port(); }

    // As by --bootstrap, on loopback.
    [[nodiscard]] ServerOptions first_start() const {
        ServerOptions options;
        options.data = temporary_.path().string();
        options.listen = {"127.0.0.1", 0};
        options.core.raft.id = 1;
        options.core.incarnation = 7;
        options.core.bootstrap = raft::Configuration{{{1, {"127.0.0.1:1", true}}}};
        return options;
    }

    boost::asio::io_context io_;
    tcp::acceptor holder_{io_, {boost::asio::ip::make_address("127.0.0.1"), 0}};
    TemporaryDirectory temporary_;
};

TEST_F(ServerStart, IsNoneWhereAPortIsTaken) {
    auto options = first_start();
    options.listen.port = taken_port();
    EXPECT_THROW(Server{options}, Error);
    options = first_start();
    options.metrics = Address{"127.0.0.1", taken_port()};
    EXPECT_THROW(Server{options}, Error);
    EXPECT_TRUE(std::filesystem::is_empty(temporary_.path()));

    EXPECT_TRUE(Server(first_start()).was_empty());
    auto later = first_start();
    later.core.bootstrap.reset();
    EXPECT_FALSE(Server(later).was_empty());
}

// Killed between two files.
TEST_F(ServerStart, AFirstStartThatWasCutShortIsAFirstStart) {
    ServerCoreOptions options = first_start().core;
    options.bootstrap = raft::Configuration{{{1, {"h:1", true}}, {2, {"h:2", true}}, {3, {"h:3", true}}}};
    std::uint64_t founders = 0;
    {
        const auto directory = open_directory(temporary_.path().string());
        const ServerCore begun(options, *directory, raft::Time{0});
        EXPECT_FALSE(begun.takes_part());
        founders = begun.founders();
        EXPECT_NE(founders, 0U);
    }
    std::filesystem::remove(temporary_.path() / "identity");
    options.bootstrap.reset();
    const auto directory = open_directory(temporary_.path().string());
    const ServerCore again(options, *directory, raft::Time{0});
    EXPECT_FALSE(again.takes_part()) << "the others know nothing of it";
    EXPECT_EQ(again.founders(), founders);
}

}  // namespace
}  // namespace understudy::arbiter
