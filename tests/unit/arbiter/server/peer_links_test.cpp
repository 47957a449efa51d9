// Links to a peer on loopback that welcomes whoever dials.
#include "arbiter/server/peer_links.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "arbiter/wire/connection.hpp"
#include "common/address.hpp"
#include "tests/unit/arbiter/event_loop.hpp"

namespace understudy::arbiter {
namespace {

using boost::asio::ip::tcp;
using std::chrono::milliseconds;

constexpr raft::NodeId kPeer = 2;
constexpr std::size_t kBuffer = 1U << 20;

class Links : public ::testing::Test {
  protected:
    Links() {
        acceptor_.async_accept([this](boost::system::error_code error, tcp::socket socket) {
            if (!error) {
                welcome(std::move(socket));
            }
        });
        links_.emplace(io_, nullptr, Hello{kProtocolVersion, Hello::Kind::peer, 1, "cluster", 1, 0},
                       PeerLinks::Handlers{.admit = [](raft::NodeId, std::uint64_t) { return true; },
                                           .on_message = [](const raft::Message&) {}});
        const Address address{"127.0.0.1", acceptor_.local_endpoint().port()};
        links_->follow({{{1, {"127.0.0.1:1"}}, {kPeer, {address.text()}}}});
    }
    // Both sides' events; the links' only while there are links.
    template <typename Condition>
    [[nodiscard]] bool until(Condition holds) {
        return testing::run_until(peer_io_, [&] {
            if (links_) {
                io_.restart();
                io_.poll();
            }
            return holds();
        });
    }

    boost::asio::io_context io_;
    boost::asio::io_context peer_io_;
    tcp::acceptor acceptor_{peer_io_, {boost::asio::ip::make_address("127.0.0.1"), 0}};
    std::optional<PeerLinks> links_;
    bool hung_up_ = false;  // on the peer

  private:
    void welcome(tcp::socket socket) {
        const auto connection = std::make_shared<Connection>(std::move(socket), nullptr, Connection::Side::acceptor,
                                                             milliseconds(1000), kBuffer);
        Connection::Handlers handlers;
        handlers.on_message = [weak = std::weak_ptr(connection)](const WireMessage&) {
            const auto self = weak.lock();
            return self && self->send(Welcome{kPeer, "", 7});
        };
        handlers.on_closed = [this](const std::string&) { hung_up_ = true; };
        connection->start(std::move(handlers));
    }
};

TEST_F(Links, AreHungUpWhereTheMemberIsNoneAnyMore) {
    ASSERT_TRUE(until([&] { return links_->established() == 1; }));
    links_->follow({{{1, {"127.0.0.1:1"}}}});
    EXPECT_EQ(links_->established(), 0U);
    EXPECT_TRUE(until([&] { return hung_up_; }));
}

TEST_F(Links, AreHungUpWhenTheyEnd) {
    ASSERT_TRUE(until([&] { return links_->established() == 1; }));
    links_.reset();
    EXPECT_TRUE(until([&] { return hung_up_; }));
}

}  // namespace
}  // namespace understudy::arbiter
