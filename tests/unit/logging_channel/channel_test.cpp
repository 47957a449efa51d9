// The logging channel between a primary and a backup that have greeted: what crosses it, and how it ends.
#include "logging_channel/channel.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/write.hpp>

#include "common/message_stream.hpp"
#include "logging_channel/channel.pb.h"
#include "tests/unit/logging_channel/channel_fixture.hpp"

namespace understudy::channel {
namespace {

using boost::asio::ip::tcp;
using ::testing::HasSubstr;

class Watched final : public StateSource {
  public:
    Watched(std::span<const std::byte> memory, bool& destroyed) : memory_(memory), destroyed_(destroyed) {}
    ~Watched() override { destroyed_ = true; }
    [[nodiscard]] Bytes size() const override { return memory_.size(); }
    void read(std::size_t offset, std::span<std::byte> into) override { memory_.read(offset, into); }

  private:
    QuietMemory memory_;
    bool& destroyed_;
};

TEST_F(Channel, StateRecordsAcknowledgementsAndReports) {
    pair();
    EXPECT_EQ(said_->replica, "B");
    EXPECT_EQ(welcome_.replica, "P");
    EXPECT_EQ(welcome_.generation, Generation{2});
    EXPECT_EQ(state_->second, testing::bytes_of("vcpu"));
    EXPECT_EQ(backup_memory_, memory_);
    EXPECT_EQ(sent_.done, sent_.total);

    backup_->send_ready();
    ASSERT_TRUE(run_until([&] { return ready_ && acknowledged_ == base_.stop; }));
    primary_->send_formed();
    ASSERT_TRUE(run_until([&] { return formed_; }));

    testing::Sampler sampler(6, 100);
    std::vector<Record> sent;
    for (int i = 0; i < 1000; ++i) {
        sent.push_back(sampler.record());
        EXPECT_GT(primary_->send_record(sent.back()), Bytes{0});
        if (i % 7 == 0) {
            primary_->flush();
        }
    }
    primary_->flush();
    ASSERT_TRUE(run_until([&] { return acknowledged_ == sent.back().stop.number; }));
    EXPECT_EQ(received_, sent);
    primary_->set_released(acknowledged_);
    ASSERT_TRUE(run_until([&] { return released_ == acknowledged_; }));
    primary_->send_goodbye({"the guest ended", 7, "broke \xff"});
    ASSERT_TRUE(run_until([&] { return goodbye_.has_value(); }));
    EXPECT_EQ(goodbye_->reason, "the guest ended");
    EXPECT_EQ(goodbye_->exit_status, 7U);
    EXPECT_EQ(goodbye_->fault_report, "broke \xff") << "whatever its console said last";
    EXPECT_EQ(backup_closed_ + primary_closed_, "");
}

// However many parts the kernel takes it in: a small record goes in one.
TEST_F(Channel, CountsWhatWasWritten) {
    pair();
    EXPECT_GE(primary_->written(), Bytes{kMemory / 2});  // no page of the sample is shorter encoded
    testing::Sampler sampler(6, 100);
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(run_until([&] { return primary_->backlog() == Bytes{0}; }));
        const Bytes before = primary_->written();
        const Bytes size = primary_->send_record(sampler.record());
        primary_->flush();
        ASSERT_TRUE(run_until([&] { return primary_->backlog() == Bytes{0}; }));
        EXPECT_GE(primary_->written().value, before.value + size.value);
    }
}

TEST_F(Channel, RecordsSentDuringTheTransferFollowTheState) {
    listen();
    ASSERT_FALSE(try_to_join(hello(), listener_->port()));
    start_both();
    memory_ = testing::Sampler(7).noise(kMemory);
    primary_->send_state(base_, std::make_unique<QuietMemory>(memory_), {}, nullptr);
    testing::Sampler sampler(8, 100);
    std::vector<Record> sent;
    for (int i = 0; i < 500; ++i) {
        sent.push_back(sampler.record());
        primary_->send_record(sent.back());
        primary_->flush();
        EXPECT_TRUE(received_.empty());
    }
    ASSERT_TRUE(run_until([&] { return received_.size() == sent.size(); }));
    EXPECT_TRUE(state_.has_value());
    EXPECT_EQ(backup_memory_, memory_);
    EXPECT_EQ(received_, sent);
}

TEST_F(Channel, AGoodbyeDoesNotWaitForTheStateBeforeIt) {
    listen();
    ASSERT_FALSE(try_to_join(hello(), listener_->port()));
    start_both();
    memory_ = testing::Sampler(7).noise(kMemory);
    bool destroyed = false;
    primary_->send_state(base_, std::make_unique<Watched>(memory_, destroyed), {}, nullptr);
    testing::Sampler sampler(8, 100);
    for (int i = 0; i < 500; ++i) {
        primary_->send_record(sampler.record());
    }
    primary_->send_goodbye({"the guest ended", 3, ""});
    EXPECT_TRUE(destroyed);
    std::exchange(primary_, nullptr)->finish();
    ASSERT_TRUE(run_until([&] { return !backup_closed_.empty(); }));
    ASSERT_TRUE(goodbye_) << backup_closed_;
    EXPECT_EQ(goodbye_->exit_status, 3U);
    EXPECT_FALSE(state_);
    EXPECT_TRUE(received_.empty());
}

TEST_F(Channel, HeartbeatsGoBothWaysWithoutAnyNews) {
    pair();
    heard_by_backup_ = heard_by_primary_ = 0;
    EXPECT_TRUE(run_until([&] { return heard_by_backup_ >= 5 && heard_by_primary_ >= 5; }));
}

// Each tick puts the connection's own heartbeat off, and must send one itself when it is time.
TEST_F(Channel, AnOwnerThatTicksIsHeardAllTheSame) {
    pair();
    heard_by_backup_ = 0;
    EXPECT_TRUE(run_until([&] {
        primary_->tick();
        return heard_by_backup_ >= 5;
    }));
}

TEST_F(Channel, ABackupIsHeardBeforeItCanReceive) {
    start_primary_alone();
    backup_->keep_alive();
    EXPECT_TRUE(run_until([&] { return heard_by_primary_ >= 3; }));
    primary_->send_state(base_, std::make_unique<QuietMemory>(memory_), testing::bytes_of("vcpu"), {});
    EXPECT_TRUE(run_until([&] { return heard_by_primary_ >= 6; }));
    receive_at_backup();
    EXPECT_TRUE(run_until([&] { return state_.has_value(); })) << "what came early has waited";
}

TEST_F(Channel, AConnectionThatBrokeBeforeTheStartIsReportedThen) {
    start_primary_alone();
    backup_->keep_alive();
    ASSERT_TRUE(run_until([&] { return heard_by_primary_ >= 1; }));
    primary_.reset();
    ASSERT_TRUE(run_until([&] { return !backup_->is_open(); }));  // a heartbeat met the closed socket
    receive_at_backup();
    EXPECT_TRUE(run_until([&] { return !backup_closed_.empty(); }));
}

TEST_F(Channel, ProgressThatNobodyWaitsForGoesWithAHeartbeat) {
    pair();
    backup_->set_progress({4711}, {4710});
    EXPECT_TRUE(run_until([&] { return acknowledged_ == StopNumber{4711}; }));
    backup_->stop_acknowledging();
    backup_->set_progress({4712}, {4710});
    heard_by_primary_ = 0;
    ASSERT_TRUE(run_until([&] { return heard_by_primary_ >= 3; }));
    EXPECT_EQ(acknowledged_, StopNumber{4711});
}

TEST_F(Channel, AfterSuspicionNothingIsAcknowledged) {
    pair();
    backup_->stop_acknowledging();
    testing::Sampler sampler(9, 100);
    primary_->send_record(sampler.record());
    primary_->flush();
    ASSERT_TRUE(run_until([&] { return received_.size() == 1; }));
    heard_by_primary_ = 0;
    ASSERT_TRUE(run_until([&] { return heard_by_primary_ >= 3; }));  // heartbeats, which say nothing new
    EXPECT_EQ(acknowledged_, StopNumber{0});
}

TEST_F(Channel, ACutWithinTheStateIsNoState) {
    listen();
    ASSERT_FALSE(try_to_join(hello(), listener_->port()));
    start_both();
    memory_ = testing::Sampler(12).noise(kMemory);
    bool destroyed = false;
    // The last progress before all of it is queued: half of it is on its way.
    primary_->send_state(base_, std::make_unique<Watched>(memory_, destroyed), {}, [&](const StateProgress& p) {
        if (p.done > Bytes{0} && primary_) {
            primary_->close();
        }
    });
    ASSERT_TRUE(run_until([&] { return !backup_closed_.empty(); }));
    EXPECT_FALSE(state_);
    EXPECT_TRUE(destroyed);
}

TEST_F(Channel, ADeadPeerIsNoticedOnBothSides) {
    pair();
    primary_.reset();
    ASSERT_TRUE(run_until([&] { return !backup_closed_.empty(); }));
    // Whether something of the backup was still unread there decides which.
    EXPECT_THAT(backup_closed_, ::testing::AnyOf(HasSubstr("closed"), HasSubstr("reset"), HasSubstr("pipe")));
}

TEST_F(Channel, AHalfOpenPeerIsHeardNoMore) {
    // The peer's process hangs: its sockets stay open, nothing is read or sent.
    listen();
    tcp::socket hung = raw_connection();
    std::vector<std::byte> bytes = greeting_bytes();
    wire::Message message;
    message.mutable_hello()->set_vm("web");
    message.mutable_hello()->set_replica("H");
    message.mutable_hello()->set_engine("kvm");
    message.mutable_hello()->set_cpu_table_digest(0x77);
    append_message(bytes, testing::bytes_of(message.SerializeAsString()));
    boost::asio::write(hung, boost::asio::buffer(bytes));
    ASSERT_TRUE(run_until([&] { return said_ && said_->replica == "H"; }));
    int heard = 0;
    Connection::Handlers handlers;
    handlers.on_heard = [&] { ++heard; };
    primary_->start(std::move(handlers));
    // Heartbeats go out, none comes back; what it does not take stays bounded.
    EXPECT_TRUE(run_until([&, beats = 0]() mutable { return ++beats > 20; }));
    EXPECT_EQ(heard, 0);
    EXPECT_TRUE(primary_->is_open());
    EXPECT_LT(primary_->backlog(), Bytes{1000});
}

TEST_F(Channel, ASlowPeerMeetsABound) {
    ChannelOptions options;
    options.max_backlog = {1U << 20};
    pair(options);
    testing::Sampler sampler(13, 100);
    for (int i = 0; i < 100'000 && primary_closed_.empty() && primary_->is_open(); ++i) {
        Record record = sampler.record();
        primary_->send_record(record);  // the I/O never runs: nobody takes it
    }
    EXPECT_FALSE(primary_->is_open());
    ASSERT_TRUE(run_until([&] { return !primary_closed_.empty(); }));
    EXPECT_THAT(primary_closed_, HasSubstr("does not take"));
}

TEST_F(Channel, MessagesOutOfTurnEndTheConnection) {
    listen();
    ASSERT_FALSE(try_to_join(hello(), listener_->port()));
    start_both();
    primary_->send_formed();  // before any state
    ASSERT_TRUE(run_until([&] { return !backup_closed_.empty(); }));
    EXPECT_THAT(backup_closed_, HasSubstr("out of turn"));
}

TEST_F(Channel, HandlersMayDestroyTheirConnection) {
    pair();
    on_records_ = [&] { backup_.reset(); };
    acknowledging_ = false;
    testing::Sampler sampler(14, 100);
    for (int i = 0; i < 10; ++i) {
        primary_->send_record(sampler.record());
        primary_->flush();  // the first record is one message, the others gather in a second: it finds nobody
    }
    ASSERT_TRUE(run_until([&] { return !primary_closed_.empty(); }));
    EXPECT_EQ(received_.size(), 1U);
    EXPECT_EQ(backup_closed_, "");  // its owner closed it
}

}  // namespace
}  // namespace understudy::channel
