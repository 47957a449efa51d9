// The channel under TLS: what passes as in plain text, and who does not get in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/write.hpp>

#include "common/error.hpp"
#include "tests/unit/common/tls/site.hpp"
#include "tests/unit/logging_channel/channel_fixture.hpp"

namespace understudy::channel {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using ::testing::AllOf;
using ::testing::HasSubstr;

class EncryptedChannel : public Channel {
  protected:
    static ChannelOptions with(std::shared_ptr<tls::Context> credentials) {
        ChannelOptions options;
        options.handshake = 1s;
        options.tls = std::move(credentials);
        return options;
    }
    // What a backup is told that comes with these credentials, and what the primary says about it.
    std::pair<std::string, std::string> turned_away(const std::shared_ptr<tls::Context>& credentials) {
        const auto warnings = warnings_.size();
        const auto failure = try_to_join(hello(), listener_->port(), with(credentials));
        if (!failure) {
            return {"it joined", ""};
        }
        EXPECT_EQ(failure->refused, credentials != nullptr) << failure->reason;
        EXPECT_TRUE(run_until([&] { return warnings_.size() > warnings; }));
        EXPECT_FALSE(primary_);
        return {failure->reason, warnings_.size() > warnings ? warnings_.back() : ""};
    }

    tls::testing::Site site_;
    const std::shared_ptr<tls::Context> host_ = site_.of(tls::testing::host("a", {"web"}));
};

TEST_F(EncryptedChannel, CarriesStateAndRecordsBothWays) {
    pair(with(host_));
    EXPECT_EQ(backup_memory_, memory_);
    testing::Sampler sampler(7, 100);
    std::vector<Record> sent;
    for (int i = 0; i < 200; ++i) {
        sent.push_back(sampler.record());
        primary_->send_record(sent.back());
    }
    primary_->flush();
    ASSERT_TRUE(run_until([&] { return received_.size() == sent.size(); }));
    EXPECT_EQ(received_, sent);
    EXPECT_TRUE(run_until([&] { return acknowledged_ == sent.back().stop.number; }));
    primary_->send_goodbye({"done", 0, ""});
    std::exchange(primary_, nullptr)->finish();
    EXPECT_TRUE(run_until([&] { return !backup_closed_.empty(); }));
    EXPECT_EQ(goodbye_.value_or(Goodbye{}).reason, "done");
    EXPECT_EQ(backup_closed_, "the peer closed the connection");
}

TEST_F(EncryptedChannel, HostsOfThisVmJoinAndNobodyElse) {
    listen(with(host_));
    tls::testing::Site foreign;

    const auto [mail, about_mail] = turned_away(site_.of(tls::testing::host("mail", {"mail"})));
    EXPECT_THAT(mail, AllOf(HasSubstr("'host-mail'"), HasSubstr("not for the VM 'web'")));
    EXPECT_THAT(about_mail, HasSubstr("not for the VM 'web'"));
    const auto [client, about_client] = turned_away(site_.of(tls::testing::client("c")));
    EXPECT_THAT(client, HasSubstr("is a client's, not a host's"));
    EXPECT_THAT(about_client, HasSubstr("is a client's, not a host's"));
    const auto [stranger, about_stranger] = turned_away(foreign.of(tls::testing::host("a", {"web"})));
    EXPECT_THAT(stranger, HasSubstr("the other side's certificate is of another authority"));
    EXPECT_THAT(about_stranger, HasSubstr("dropped a connection"));
    const auto [plain, about_plain] = turned_away(nullptr);
    EXPECT_THAT(plain, HasSubstr("if it was given --tls, give it here, too"));
    EXPECT_THAT(about_plain, HasSubstr("speaks plain text"));
    const auto [expired, about_expired] = turned_away(site_.expired(tls::testing::host("expired", {"web"})));
    EXPECT_THAT(expired, HasSubstr("this side's certificate has expired"));
    EXPECT_THAT(about_expired, HasSubstr("the other side's certificate has expired"));

    EXPECT_FALSE(try_to_join(hello(), listener_->port(), with(site_.of(tls::testing::host("b", {"web"})))));
}

TEST_F(EncryptedChannel, ABackupJoinsNoPrimaryWithTheWrongCertificate) {
    const auto refusal = [&](const std::shared_ptr<tls::Context>& primary) {
        listen(with(primary));
        const auto failure = try_to_join(hello(), listener_->port(), with(host_));
        EXPECT_TRUE(failure && failure->refused == (primary != nullptr));
        return failure ? failure->reason : "";
    };
    EXPECT_THAT(refusal(site_.of(tls::testing::host("mail", {"mail"}))), HasSubstr("not for the VM 'web'"));
    EXPECT_THAT(refusal(site_.of(tls::testing::client("c"))), HasSubstr("is not for this"));
    EXPECT_THAT(refusal(site_.of(tls::testing::gateway("g", {"web"}))), HasSubstr("is a gateway's, not a host's"));
    EXPECT_THAT(refusal(nullptr), HasSubstr("plain text"));
    EXPECT_THAT(warnings_.back(), HasSubstr("it speaks TLS: give both sides --tls"));
}

TEST_F(EncryptedChannel, GarbageAndSilenceHarmNobody) {
    pair(with(host_));
    for (const auto& bytes : {testing::Sampler(10).noise(100'000), std::vector<std::byte>(100'000, std::byte{0x16}),
                              testing::bytes_of("\x16\x03\x01\xff\xff")}) {
        tcp::socket garbage = raw_connection();
        boost::system::error_code ignored;
        boost::asio::write(garbage, boost::asio::buffer(bytes), ignored);
        bytes_until_closed(garbage);
    }
    std::vector<tcp::socket> silent;
    silent.reserve(17);
    for (int i = 0; i < 17; ++i) {
        silent.push_back(raw_connection());
    }
    EXPECT_EQ(bytes_until_closed(silent.back()), 0U);
    EXPECT_EQ(bytes_until_closed(silent.front()), 0U) << "it did not shake hands in time";
    primary_->send_record(testing::Sampler(11, 100).record());
    primary_->flush();
    EXPECT_TRUE(run_until([&] { return received_.size() == 1; }));
}

TEST_F(EncryptedChannel, PlainTextStaysOnThisMachine) {
    ListenerConfig config;
    config.address = "0.0.0.0";
    try {
        const Listener listener(io_, config, {});
        FAIL() << "it listens";
    } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("plain text is for loopback only, and 0.0.0.0 is not: give --tls"));
    }
}

}  // namespace
}  // namespace understudy::channel
