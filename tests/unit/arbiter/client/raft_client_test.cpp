// The client of our own servers, with a server on loopback that answers as the test says.
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "arbiter/client/client.hpp"
#include "arbiter/wire/connection.hpp"
#include "tests/unit/arbiter/event_loop.hpp"

namespace understudy::arbiter {
namespace {

using boost::asio::ip::tcp;
using std::chrono::milliseconds;

constexpr milliseconds kGiveUp{10'000};
constexpr std::size_t kBuffer = std::size_t{1} << 20U;

// Welcomes each client after it has waited as in a crowd, and tells it that there is no such VM.
class SlowServer {
  public:
    SlowServer(boost::asio::io_context& io, milliseconds wait) : io_(io), wait_(wait) { accept(); }

    [[nodiscard]] std::string url() const {
        return "raft://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
    }

  private:
    void accept() {
        acceptor_.async_accept([this](boost::system::error_code error, tcp::socket socket) {
            if (!error) {
                greet(std::move(socket));
                accept();
            }
        });
    }
    void greet(tcp::socket socket) {
        const auto connection =
            std::make_shared<Connection>(std::move(socket), nullptr, Connection::Side::acceptor, kGiveUp, kBuffer);
        Connection::Handlers handlers;
        handlers.on_message = [this, weak = std::weak_ptr(connection)](const WireMessage& message) {
            const auto self = weak.lock();
            if (const auto* request = std::get_if<Request>(&message)) {
                return self->send(Reply{request->id, ReadReply{}});
            }
            const auto timer = std::make_shared<boost::asio::steady_timer>(io_, wait_);
            timer->async_wait([weak, timer](boost::system::error_code) {
                if (const auto waited = weak.lock()) {
                    waited->send(Welcome{1, "", 0});
                }
            });
            return true;
        };
        connection->start(std::move(handlers));
    }

    boost::asio::io_context& io_;
    milliseconds wait_;
    tcp::acceptor acceptor_{io_, {boost::asio::ip::make_address("127.0.0.1"), 0}};
};

TEST(RaftClient, ReachesAServerThatHasACrowdBeforeIt) {
    boost::asio::io_context io;
    const SlowServer server(io, milliseconds(1000));
    const auto client = connect(io, server.url());
    Verdict verdict = Verdict::unknown;
    bool answered = false;
    client->read("vm", milliseconds(9000), [&](const Outcome& outcome) {
        verdict = outcome.verdict;
        answered = true;
    });
    ASSERT_TRUE(testing::run_until(io, [&] { return answered; }));
    EXPECT_NE(verdict, Verdict::unknown);
}

}  // namespace
}  // namespace understudy::arbiter
