// The guest's console on a Unix socket, with real sockets and the queue that the guest would be fed from.
#include "hypervisor/replication/loop/console.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/bytes.hpp"
#include "common/temporary_directory.hpp"

namespace understudy::replication {
namespace {

using testing::HasSubstr;
using Socket = boost::asio::local::stream_protocol::socket;
using namespace std::chrono_literals;

class ConsoleTest : public testing::Test {
  protected:
    std::unique_ptr<Console> make() {
        return std::make_unique<Console>(
            io_, queue_, ConsoleConfig{false, false, path_},
            Console::Handlers{[this] { ++typed_; }, [] {},
                              [this](const std::string& line) { warnings_.push_back(line); }});
    }
    Socket connect() {
        Socket socket(io_);
        socket.connect(boost::asio::local::stream_protocol::endpoint(path_));
        return socket;
    }
    template <typename Condition>
    void until(Condition condition) {
        const auto deadline = std::chrono::steady_clock::now() + 60s;
        while (!condition() && std::chrono::steady_clock::now() < deadline) {
            io_.restart();
            io_.run_one_for(10ms);
        }
        ASSERT_TRUE(condition());
    }
    // What has come to the socket.
    static std::string received(Socket& socket) {
        std::string text(socket.available(), '\0');
        text.resize(socket.read_some(boost::asio::buffer(text)));
        return text;
    }
    std::string taken() { return std::string(as_text(queue_.take_typed(1U << 20))); }

    TemporaryDirectory directory_{"understudy-console"};
    std::string path_ = (directory_.path() / "socket").string();
    boost::asio::io_context io_{1};
    InputQueue queue_{{.typed_bytes = 100}};
    int typed_ = 0;
    std::vector<std::string> warnings_;
    std::unique_ptr<Console> console_ = make();
};

TEST_F(ConsoleTest, IsThereWhileTheGuestLivesAndForItsOwnerAlone) {
    EXPECT_FALSE(std::filesystem::exists(path_)) << "not before";
    console_->open();
    EXPECT_EQ(std::filesystem::status(path_).permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    console_.reset();
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(ConsoleTest, ShowsAndTakesTheSameForAll) {
    console_->open();
    Socket one = connect();
    Socket other = connect();
    boost::asio::write(one, boost::asio::buffer(std::string("ab")));
    until([&] { return typed_ == 1; });
    boost::asio::write(other, boost::asio::buffer(std::string("c")));
    until([&] { return typed_ == 2; });
    EXPECT_EQ(taken(), "abc");
    console_->print("login: ");
    EXPECT_EQ(received(one), "login: ");
    EXPECT_EQ(received(other), "login: ");
    other.close();
    boost::asio::write(one, boost::asio::buffer(std::string("d")));
    until([&] { return typed_ == 3; });
    console_->print("still");
    EXPECT_EQ(received(one), "still");
}

TEST_F(ConsoleTest, WhatFindsNoRoomWaitsInOrder) {
    console_->open();
    Socket socket = connect();
    std::string text;
    for (char c = 0; c < 100; ++c) {
        text += std::string(5, c);
    }
    boost::asio::write(socket, boost::asio::buffer(text));
    std::string all;
    until([&] {
        const std::string some = taken();
        EXPECT_LE(some.size(), 100U) << "the queue's bound";
        all += some;
        return all.size() >= text.size();
    });
    EXPECT_EQ(all, text);
}

TEST_F(ConsoleTest, WhoDoesNotReadIsDisconnectedAndNobodyElse) {
    console_->open();
    Socket lazy = connect();
    boost::asio::write(lazy, boost::asio::buffer(std::string("x")));
    until([&] { return typed_ == 1; });
    const std::string much(64U << 10U, 'm');
    for (int i = 0; i < 64; ++i) {
        console_->print(much);
    }
    Socket other = connect();
    boost::asio::write(other, boost::asio::buffer(std::string("y")));
    until([&] { return typed_ == 2; });
    console_->print("after");
    EXPECT_EQ(received(other), "after");
    boost::system::error_code error;
    std::string all;
    while (!error) {
        std::string part(1U << 16U, '\0');
        part.resize(lazy.read_some(boost::asio::buffer(part), error));
        all += part;
    }
    EXPECT_EQ(error, boost::asio::error::eof);
    EXPECT_LT(all.size(), 64 * much.size());
}

TEST_F(ConsoleTest, ThatCannotBeIsAWarning) {
    const auto second = make();
    console_->open();
    second->open();
    ASSERT_EQ(warnings_.size(), 1U);
    EXPECT_THAT(warnings_[0], HasSubstr("another process already listens"));
}

}  // namespace
}  // namespace understudy::replication
