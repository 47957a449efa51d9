// Dialling a server on loopback that answers as the test says.
#include "arbiter/wire/server_link.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arbiter/wire/connection.hpp"
#include "tests/unit/arbiter/event_loop.hpp"

namespace understudy::arbiter {
namespace {

using boost::asio::ip::tcp;
using std::chrono::milliseconds;

constexpr std::size_t kBuffer = 1U << 20;
const Hello kHello{kProtocolVersion, Hello::Kind::client, 0, "abc", 0, 0};

class Dialling : public ::testing::Test {
  public:
    Dialling() {
        acceptor_.async_accept([this](boost::system::error_code error, tcp::socket socket) {
            if (!error) {
                serve(std::move(socket));
            }
        });
    }
    ~Dialling() override {
        link_.reset();
        acceptor_.close();
        io_.restart();
        io_.poll();
    }

  protected:
    void dial(raft::NodeId expected) {
        ServerLink::Handlers handlers;
        handlers.on_welcome = [this](const Welcome& /*welcome*/) { welcome_ = true; };
        handlers.on_message = [this](WireMessage message) {
            messages_.push_back(std::move(message));
            if (end_at_message_) {
                link_.reset();
            }
            return true;
        };
        handlers.on_closed = [this](const std::string& why) { closed_ = why; };
        link_.emplace(io_, nullptr, Address{"127.0.0.1", acceptor_.local_endpoint().port()},
                      ServerLink::Options{kHello, expected, milliseconds(1000), kBuffer}, std::move(handlers));
    }
    template <typename Condition>
    [[nodiscard]] bool until(Condition holds) {
        return testing::run_until(io_, holds);
    }

    boost::asio::io_context io_;
    tcp::acceptor acceptor_{io_, {boost::asio::ip::make_address("127.0.0.1"), 0}};
    Welcome answer_{1, ""};  // the server's, to Hello
    std::vector<WireMessage> heard_;
    std::string server_closed_;

    std::optional<ServerLink> link_;
    bool end_at_message_ = false;
    bool welcome_ = false;
    std::vector<WireMessage> messages_;
    std::string closed_;

  private:
    void serve(tcp::socket socket) {
        const auto connection = std::make_shared<Connection>(std::move(socket), nullptr, Connection::Side::acceptor,
                                                             milliseconds(1000), kBuffer);
        Connection::Handlers handlers;
        handlers.on_message = [this, weak = std::weak_ptr(connection)](WireMessage message) {
            const bool first = heard_.empty();
            heard_.push_back(std::move(message));
            if (const auto self = weak.lock()) {
                self->send(first ? WireMessage(answer_) : WireMessage(Reply{1, DoneReply{true, "done"}}));
            }
            return true;
        };
        handlers.on_closed = [this](const std::string& why) { server_closed_ = why; };
        connection->start(std::move(handlers));
    }
};

TEST_F(Dialling, SaysHelloAndCarriesMessagesOnceItIsWelcome) {
    dial(1);
    EXPECT_FALSE(link_->send(Request{1, StatusRequest{}})) << "too early";
    ASSERT_TRUE(until([&] { return welcome_; })) << closed_;
    ASSERT_EQ(heard_.size(), 1U);
    EXPECT_EQ(std::get<Hello>(heard_[0]), kHello);
    ASSERT_TRUE(link_->send(Request{1, StatusRequest{}}));
    ASSERT_TRUE(until([&] { return !messages_.empty(); })) << closed_;
    EXPECT_TRUE(std::holds_alternative<Reply>(messages_[0]));
    EXPECT_EQ(closed_, "");
}

TEST_F(Dialling, TellsWhyItIsRefused) {
    answer_.refusal = "not here";
    dial(0);
    ASSERT_TRUE(until([&] { return !closed_.empty(); }));
    EXPECT_EQ(closed_, "not here");
    EXPECT_FALSE(welcome_);
}

TEST_F(Dialling, LeavesWhereAnotherServerAnswers) {
    dial(2);
    ASSERT_TRUE(until([&] { return !closed_.empty(); }));
    EXPECT_EQ(closed_, "another server answers there");
    EXPECT_FALSE(welcome_);
}

TEST_F(Dialling, TellsThatNobodyListens) {
    dial(0);
    acceptor_.close();
    ASSERT_TRUE(until([&] { return !closed_.empty(); }));
    EXPECT_TRUE(link_->resolved());
    EXPECT_FALSE(welcome_);
}

TEST_F(Dialling, MayBeEndedFromWithinAHandlerAndIsSilentThen) {
    end_at_message_ = true;
    dial(1);
    ASSERT_TRUE(until([&] { return welcome_; })) << closed_;
    link_->send(Request{1, StatusRequest{}});
    link_->send(Request{2, StatusRequest{}});
    ASSERT_TRUE(until([&] { return !server_closed_.empty(); }));
    EXPECT_EQ(messages_.size(), 1U);
    EXPECT_EQ(closed_, "");
}

}  // namespace
}  // namespace understudy::arbiter
