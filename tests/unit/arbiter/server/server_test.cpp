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

}  // namespace
}  // namespace understudy::arbiter
