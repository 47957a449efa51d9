// Who listens, who joins, and whom the two turn away.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "common/bytes.hpp"
#include "common/error.hpp"
#include "common/name.hpp"
#include "logging_channel/channel.hpp"
#include "tests/unit/logging_channel/channel_fixture.hpp"

namespace understudy::channel {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ChannelGreeting : public Channel {};

TEST_F(ChannelGreeting, WhateverDiffersIsRefusedByName) {
    listen();
    const auto refusal = [&](auto change) {
        Hello said = hello();
        change(said);
        const auto failure = try_to_join(said, listener_->port());
        EXPECT_TRUE(failure && failure->refused);
        return failure ? failure->reason : "";
    };
    EXPECT_THAT(refusal([](Hello& h) { h.vm = "mail"; }), HasSubstr("the VM here is web, the backup wants mail"));
    EXPECT_THAT(refusal([](Hello& h) { h.engine = "software"; }), HasSubstr("engine"));
    EXPECT_THAT(refusal([](Hello& h) { h.cpu_table_digest = 1; }), HasSubstr("CPU tables differ"));
    EXPECT_THAT(refusal([](Hello& h) { h.replica = "P"; }), HasSubstr("no name of its own"));
    EXPECT_EQ(warnings_.size(), 4U);
    EXPECT_FALSE(primary_);
}

// The arbiter would not take it for a member, and the primary could form no pair with it.
TEST_F(ChannelGreeting, ANameThatIsNoneIsRefused) {
    listen();
    for (const std::string& name : {std::string(kMaxNameBytes + 1, 'x'), std::string("two words"),
                                    std::string("line\n"), std::string("caf\xc3\xa9"), std::string()}) {
        Hello said = hello();
        said.replica = name;
        const auto failure = try_to_join(said, listener_->port());
        ASSERT_TRUE(failure) << name;
        EXPECT_TRUE(failure->refused);
        EXPECT_THAT(failure->reason, HasSubstr("no name"));
    }
    EXPECT_FALSE(primary_);
    Hello longest = hello();
    longest.replica = std::string(kMaxNameBytes, 'x');
    EXPECT_FALSE(try_to_join(longest, listener_->port()));
}

TEST_F(ChannelGreeting, APrimaryThatCannotTakeABackupSaysWhy) {
    welcoming_ = false;
    listen();
    std::optional<JoinResult> result;
    join(io_, "127.0.0.1", listener_->port(), hello(), 5s, {}, [&](JoinResult r) { result = std::move(r); });
    ASSERT_TRUE(run_until([&] { return primary_ != nullptr; }));
    primary_->refuse("another backup has joined", Refusal::for_good);
    primary_.reset();
    ASSERT_TRUE(run_until([&] { return result.has_value(); }));
    ASSERT_TRUE(std::holds_alternative<JoinFailure>(*result));
    EXPECT_TRUE(std::get<JoinFailure>(*result).refused);
    EXPECT_THAT(std::get<JoinFailure>(*result).reason, HasSubstr("another backup has joined"));
}

TEST_F(ChannelGreeting, APrimaryThatCannotTakeABackupYetMayBeAskedAgain) {
    welcoming_ = false;
    listen();
    std::optional<JoinResult> result;
    join(io_, "127.0.0.1", listener_->port(), hello(), 5s, {}, [&](JoinResult r) { result = std::move(r); });
    ASSERT_TRUE(run_until([&] { return primary_ != nullptr; }));
    primary_->refuse("this replica is claiming", Refusal::for_now);
    primary_.reset();
    ASSERT_TRUE(run_until([&] { return result.has_value(); }));
    ASSERT_TRUE(std::holds_alternative<JoinFailure>(*result));
    EXPECT_FALSE(std::get<JoinFailure>(*result).refused);
    EXPECT_THAT(std::get<JoinFailure>(*result).reason, HasSubstr("this replica is claiming"));
}

TEST_F(ChannelGreeting, AnotherProtocolVersionIsNamedOnBothSides) {
    listen();
    tcp::socket socket = raw_connection();
    boost::asio::write(socket, boost::asio::buffer(preamble(99)));
    EXPECT_EQ(bytes_until_closed(socket), kPreambleBytes);  // its own, so that the other side can tell
    ASSERT_TRUE(run_until([&] { return !warnings_.empty(); }));
    EXPECT_THAT(warnings_.front(), HasSubstr("version 99"));

    // The other way round: a primary of another version.
    tcp::acceptor old_primary(io_, {boost::asio::ip::make_address("127.0.0.1"), 0});
    std::optional<tcp::socket> accepted;
    old_primary.async_accept([&](boost::system::error_code /*error*/, tcp::socket s) {
        accepted = std::move(s);
        boost::asio::write(*accepted, boost::asio::buffer(preamble(kProtocolVersion + 1)));
    });
    const auto failure = try_to_join(hello(), old_primary.local_endpoint().port());
    ASSERT_TRUE(failure);
    EXPECT_THAT(failure->reason, HasSubstr(fmt::format("speaks version {}", kProtocolVersion + 1)));
    EXPECT_TRUE(failure->refused) << "it will speak no other one in a moment";
}

TEST_F(ChannelGreeting, GarbageIsDroppedNamedOnceAndHarmsNobody) {
    ChannelOptions options;
    options.handshake = 200ms;
    pair(options);
    for (int i = 0; i < 3; ++i) {
        tcp::socket garbage = raw_connection();
        boost::asio::write(garbage, boost::asio::buffer(testing::Sampler(10).noise(100'000)));
        bytes_until_closed(garbage);
    }
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr("does not speak the logging channel's protocol")));

    tcp::socket silent = raw_connection();  // as a port scan
    EXPECT_EQ(bytes_until_closed(silent), 0U);
    tcp::socket greedy = raw_connection();  // a greeting of a gigabyte
    std::vector<std::byte> bytes = greeting_bytes();
    append_little_endian(bytes, std::uint32_t{1} << 30);
    append_little_endian(bytes, std::uint32_t{0});
    boost::asio::write(greedy, boost::asio::buffer(bytes));
    bytes_until_closed(greedy);
    EXPECT_EQ(warnings_.size(), 3U);

    primary_->send_record(testing::Sampler(11, 100).record());
    primary_->flush();
    EXPECT_TRUE(run_until([&] { return received_.size() == 1; }));
}

TEST_F(ChannelGreeting, ManySilentConnectionsNeitherPileUpNorKeepABackupOut) {
    listen();
    std::vector<tcp::socket> silent;
    silent.reserve(40);
    for (int i = 0; i < 40; ++i) {
        silent.push_back(raw_connection());
    }
    EXPECT_FALSE(try_to_join(hello(), listener_->port()));
    EXPECT_EQ(bytes_until_closed(silent.front()), 0U);
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr("too many connections")));
}

TEST_F(ChannelGreeting, WhoHasSaidSomethingOutlastsWhoHasNot) {
    listen();
    tcp::socket talks = raw_connection();
    std::vector<tcp::socket> silent;
    silent.reserve(14);
    for (int i = 0; i < 14; ++i) {
        silent.push_back(raw_connection());
    }
    ASSERT_FALSE(try_to_join(hello(), listener_->port())) << "and all that came before are accepted by now";
    boost::asio::write(talks, boost::asio::buffer(preamble()));
    std::array<std::byte, kPreambleBytes> answer{};
    bool answered = false;
    boost::asio::async_read(talks, boost::asio::buffer(answer),
                            [&](boost::system::error_code error, std::size_t) { answered = !error; });
    ASSERT_TRUE(run_until([&] { return answered; }));
    for (int i = 0; i < 15; ++i) {
        silent.push_back(raw_connection());
    }
    EXPECT_EQ(bytes_until_closed(silent[13]), 0U);
    talks.non_blocking(true);
    boost::system::error_code still;
    talks.read_some(boost::asio::buffer(answer), still);
    EXPECT_EQ(still, boost::asio::error::would_block) << "it is still there";
}

TEST_F(ChannelGreeting, AnUnreachablePrimaryIsNamed) {
    listen();
    const auto port = listener_->port();
    listener_.reset();
    const auto failure = try_to_join(hello(), port);
    ASSERT_TRUE(failure);
    EXPECT_FALSE(failure->refused);
    EXPECT_THAT(failure->reason, HasSubstr("cannot join the primary at 127.0.0.1:" + std::to_string(port)));
}

TEST_F(ChannelGreeting, APrimaryThatNeverAnswersCostsTheTimeoutOnly) {
    tcp::acceptor mute(io_, {boost::asio::ip::make_address("127.0.0.1"), 0});
    std::optional<JoinResult> result;
    join(io_, "127.0.0.1", mute.local_endpoint().port(), hello(), 100ms, {},
         [&](JoinResult r) { result = std::move(r); });
    ASSERT_TRUE(run_until([&] { return result.has_value(); }));
    EXPECT_THAT(std::get<JoinFailure>(*result).reason, HasSubstr("no answer in time"));
}

TEST_F(ChannelGreeting, APortInUseIsAnError) {
    listen();
    ListenerConfig config;
    config.address = "127.0.0.1";
    config.port = listener_->port();
    EXPECT_THAT([&] { Listener second(io_, config, {}); },
                ::testing::ThrowsMessage<Error>(HasSubstr("choose another port")));
    config.address = "localhost or so";
    EXPECT_THAT([&] { Listener second(io_, config, {}); }, ::testing::ThrowsMessage<Error>(HasSubstr("no IP address")));
}

}  // namespace
}  // namespace understudy::channel
