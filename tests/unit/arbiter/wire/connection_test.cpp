// The server's side of one connection; the other side is a socket that writes what it likes.
#include "arbiter/wire/connection.hpp"

#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/bytes.hpp"
#include "tests/unit/arbiter/event_loop.hpp"

namespace understudy::arbiter {
namespace {

using boost::asio::ip::tcp;

const Hello kHello{kProtocolVersion, Hello::Kind::client, 0, "abc", 0, 0};

std::vector<std::byte> on_the_wire(std::string_view message) {
    std::vector<std::byte> bytes;
    append_message(bytes, as_bytes(message));
    return bytes;
}

// A header alone, of a message of this length.
std::vector<std::byte> announced(std::size_t length) {
    std::vector<std::byte> bytes;
    append_little_endian(bytes, static_cast<std::uint32_t>(length));
    append_little_endian(bytes, std::uint32_t{0});
    return bytes;
}

// As large as a message may be.
std::string largest_message() {
    const auto with = [](std::size_t size) {
        const raft::Entry entry{1, 1, raft::EntryKind::command, std::string(size, 'x')};
        return encode_message(raft::Message{1, 2, 1, raft::AppendRequest{0, 0, 0, 0, {entry}}});
    };
    return with(kMaxMessageBytes - with(0).size());
}

class ArbiterConnection : public ::testing::Test {
  public:
    ArbiterConnection() {
        tcp::acceptor acceptor(io_, {boost::asio::ip::make_address("127.0.0.1"), 0});
        other_.connect(acceptor.local_endpoint());
        tcp::socket accepted = acceptor.accept();
        socket_ = accepted.native_handle();
        connection_ = std::make_shared<Connection>(std::move(accepted), nullptr, Connection::Side::acceptor,
                                                   std::chrono::milliseconds(1000), kMaxMessageBytes);
        Connection::Handlers handlers;
        handlers.on_message = [this](WireMessage message) {
            connection_->admit();
            messages_.push_back(std::move(message));
            return true;
        };
        handlers.on_closed = [this](const std::string& why) { closed_ = why; };
        connection_->start(std::move(handlers));
    }
    ~ArbiterConnection() override {
        connection_->close("the test is over");
        static_cast<void>(testing::run_until(io_, [this] { return !closed_.empty(); }));
    }

  protected:
    [[nodiscard]] int option(int level, int name) const {
        int value = 0;
        socklen_t size = sizeof value;
        EXPECT_EQ(::getsockopt(socket_, level, name, &value, &size), 0);
        return value;
    }
    void say(std::vector<std::byte> bytes) {
        said_.push_back(std::move(bytes));
        boost::asio::async_write(other_, boost::asio::buffer(said_.back()),
                                 [](boost::system::error_code /*error*/, std::size_t /*size*/) {});
    }
    std::string reason_of_the_end() {
        EXPECT_TRUE(testing::run_until(io_, [this] { return !closed_.empty(); }));
        return closed_;
    }
    [[nodiscard]] bool arrived(std::size_t messages) {
        return testing::run_until(io_, [&] { return messages_.size() == messages; });
    }

    boost::asio::io_context io_;
    tcp::socket other_{io_};
    std::deque<std::vector<std::byte>> said_;
    std::shared_ptr<Connection> connection_;
    int socket_ = -1;  // the connection's
    std::vector<WireMessage> messages_;
    std::string closed_;
};

// A host that vanishes while nothing is said leaves no other trace.
TEST_F(ArbiterConnection, FindsOutThatTheOtherSideIsGone) {
    EXPECT_EQ(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 1000);
    EXPECT_NE(option(SOL_SOCKET, SO_KEEPALIVE), 0);
    EXPECT_LE(option(IPPROTO_TCP, TCP_KEEPIDLE), 10);
    EXPECT_LE(option(IPPROTO_TCP, TCP_KEEPINTVL), 10);
}

TEST_F(ArbiterConnection, SendsEachMessageBehindItsLengthAndChecksum) {
    ASSERT_TRUE(connection_->send(kHello));
    std::string seen(kMessageHeaderBytes + encode_message(kHello).size(), '\0');
    bool done = false;
    boost::asio::async_read(other_, boost::asio::buffer(seen),
                            [&](boost::system::error_code /*error*/, std::size_t /*size*/) { done = true; });
    ASSERT_TRUE(testing::run_until(io_, [&] { return done; }));
    EXPECT_EQ(seen, as_text(on_the_wire(encode_message(kHello))));
}

TEST_F(ArbiterConnection, TakesLargeMessagesOnceTheFirstWasAccepted) {
    const auto large = largest_message();
    ASSERT_EQ(large.size(), kMaxMessageBytes);
    say(on_the_wire(encode_message(kHello)));
    ASSERT_TRUE(arrived(1)) << closed_;
    EXPECT_EQ(std::get<Hello>(messages_[0]), kHello);
    say(on_the_wire(large));
    ASSERT_TRUE(arrived(2)) << closed_;
    say(announced(kMaxMessageBytes + 1));
    EXPECT_EQ(reason_of_the_end(), "a message of an impossible length");
}

TEST_F(ArbiterConnection, EndsAtALargeFirstMessage) {
    say(announced(kMaxFirstMessageBytes + 1));
    EXPECT_EQ(reason_of_the_end(), "a message of an impossible length");
}

TEST_F(ArbiterConnection, EndsAtAnEmptyMessage) {
    say(announced(0));
    EXPECT_EQ(reason_of_the_end(), "a message of an impossible length");
}

TEST_F(ArbiterConnection, EndsAtADamagedMessage) {
    auto bytes = on_the_wire(encode_message(kHello));
    bytes.back() ^= std::byte{1};
    say(bytes);
    EXPECT_EQ(reason_of_the_end(), "a message with a wrong checksum");
}

TEST_F(ArbiterConnection, EndsAtAMessageThatCannotBeRead) {
    say(on_the_wire(std::string(kMaxFirstMessageBytes, '\xFF')));
    EXPECT_EQ(reason_of_the_end(), "a message that means nothing here");
    EXPECT_TRUE(messages_.empty());
}

}  // namespace
}  // namespace understudy::arbiter
