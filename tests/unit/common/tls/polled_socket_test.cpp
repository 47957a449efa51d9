// Two ends of one connection, driven in turns.
#include "common/tls/polled_socket.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/common/tls/site.hpp"

namespace understudy::tls {
namespace {

using Handshake = PolledSocket::Handshake;
using ::testing::HasSubstr;

class Polled : public ::testing::Test {
  protected:
    Polled() { std::signal(SIGPIPE, SIG_IGN); }

    void connect(std::shared_ptr<Context> dialer, std::shared_ptr<Context> acceptor) {
        std::array<int, 2> fds{};
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()), 0);
        dialer_.emplace(FileDescriptor(fds[0]), std::move(dialer), Side::dialer);
        acceptor_.emplace(FileDescriptor(fds[1]), std::move(acceptor), Side::acceptor);
    }
    // Of the dialer and the acceptor, when neither gets further.
    std::pair<Handshake, Handshake> shake_hands() {
        for (int turn = 0; turn < 10; ++turn) {
            for (PolledSocket* socket : {&*dialer_, &*acceptor_}) {
                if (socket->failure().empty()) {
                    static_cast<void>(socket->handshake());
                }
            }
        }
        const auto of = [](PolledSocket& socket) {
            return socket.failure().empty() ? socket.handshake() : Handshake::failed;
        };
        return {of(*dialer_), of(*acceptor_)};
    }
    static ssize_t send(PolledSocket& socket, std::string text) {
        const std::size_t half = text.size() / 2;
        const std::array<iovec, 2> parts = {{{text.data(), half}, {text.data() + half, text.size() - half}}};
        return socket.send(parts);
    }
    static std::string receive(PolledSocket& socket, std::size_t at_once = 100'000) {
        std::string text;
        std::vector<std::byte> space(at_once);
        do {
            const ssize_t got = socket.receive(space);
            if (got <= 0) {
                break;
            }
            text.append(reinterpret_cast<const char*>(space.data()), static_cast<std::size_t>(got));
        } while (socket.has_more());
        return text;
    }

    testing::Site site_;
    std::optional<PolledSocket> dialer_;
    std::optional<PolledSocket> acceptor_;
};

TEST_F(Polled, PlainTextIsASocket) {
    connect(nullptr, nullptr);
    EXPECT_EQ(shake_hands(), std::pair(Handshake::done, Handshake::done));
    EXPECT_EQ(send(*dialer_, "hello"), 5);
    EXPECT_EQ(receive(*acceptor_), "hello");
    EXPECT_FALSE(acceptor_->peer());
}

TEST_F(Polled, BothKnowEachOtherAndWhatOneSaysTheOtherHears) {
    connect(site_.of(testing::host("a", {"shop"})), site_.of(testing::gateway("g", {"shop"})));
    ASSERT_EQ(shake_hands(), std::pair(Handshake::done, Handshake::done)) << dialer_->failure() << acceptor_->failure();
    EXPECT_EQ(acceptor_->peer(), testing::host("a", {"shop"}));
    EXPECT_EQ(dialer_->peer(), testing::gateway("g", {"shop"}));
    EXPECT_EQ(send(*dialer_, "hello"), 5);
    EXPECT_EQ(receive(*acceptor_), "hello");
    const std::string large(16384, 'x');
    EXPECT_EQ(send(*acceptor_, large), 16384);
    EXPECT_EQ(receive(*dialer_, 1000), large) << "what poll(2) does not know";
    EXPECT_EQ(receive(*dialer_), "");
    EXPECT_EQ(errno, EAGAIN);
}

// What a full socket took waits, and goes out first.
TEST_F(Polled, NothingIsLostWhereTheOtherSideDoesNotRead) {
    connect(site_.of(testing::host("a", {"shop"})), site_.of(testing::gateway("g", {"shop"})));
    ASSERT_EQ(shake_hands(), std::pair(Handshake::done, Handshake::done));
    std::string said;
    for (int i = 0; i < 10'000; ++i) {
        const std::string next(1000 + static_cast<std::size_t>(i % 7), static_cast<char>('a' + i % 26));
        const ssize_t taken = send(*dialer_, next);
        if (taken < 0) {
            ASSERT_EQ(errno, EAGAIN);
            break;
        }
        said += next;
    }
    EXPECT_TRUE(dialer_->has_unsent());
    std::string heard = receive(*acceptor_);
    while (heard.size() < said.size()) {
        static_cast<void>(dialer_->send({}));
        const std::string more = receive(*acceptor_);
        ASSERT_FALSE(more.empty());
        heard += more;
    }
    EXPECT_EQ(heard, said);
    EXPECT_FALSE(dialer_->has_unsent());
}

TEST_F(Polled, StrangersDoNotGetThrough) {
    testing::Site foreign;
    connect(foreign.of(testing::host("a", {"shop"})), site_.of(testing::gateway("g", {"shop"})));
    EXPECT_EQ(shake_hands().first, Handshake::failed);
    EXPECT_THAT(dialer_->failure(), HasSubstr("another authority"));

    connect(site_.of(testing::gateway("g", {"shop"})), site_.of(testing::host("a", {"shop"})));
    EXPECT_EQ(shake_hands().second, Handshake::failed) << "a gateway dials nobody";
    EXPECT_THAT(acceptor_->failure(), HasSubstr("is not for this"));

    connect(nullptr, site_.of(testing::gateway("g", {"shop"})));
    EXPECT_EQ(send(*dialer_, "this is not TLS"), 15);
    EXPECT_EQ(acceptor_->handshake(), Handshake::failed);
    EXPECT_THAT(acceptor_->failure(), HasSubstr("plain text"));
}

TEST_F(Polled, AnExpiredCertificateIsRefused) {
    const auto expired = site_.expired(testing::host("expired", {"shop"}));
    connect(expired, site_.of(testing::gateway("g", {"shop"})));
    EXPECT_EQ(shake_hands().second, Handshake::failed);
    EXPECT_THAT(acceptor_->failure(), HasSubstr("has expired"));
}

}  // namespace
}  // namespace understudy::tls
