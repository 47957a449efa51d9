// The logging channel over real sockets on loopback.
#include "logging_channel/channel.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <optional>

#include "common/error.hpp"
#include "logging_channel/bytes.hpp"
#include "logging_channel/channel.pb.h"
#include "logging_channel/frame.hpp"
#include "tests/unit/channel/sample.hpp"

namespace understudy::channel {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Channel : public ::testing::Test {
  protected:
    static constexpr std::size_t kMemory = 600 * kPageBytes;

    static Hello hello() { return {"web", "B", "kvm", 0x77, {0}, "test"}; }
    static Welcome greeting() { return {"P", {2}, {kMemory}, testing::bytes_of("guest")}; }

    void listen(ChannelOptions options = {}) {
        ListenerConfig config;
        config.address = "127.0.0.1";
        config.vm = "web";
        config.replica = "P";
        config.engine = "kvm";
        config.cpu_table_digest = 0x77;
        config.options = options;
        listener_.emplace(io_, config,
                          Listener::Handlers{[this](std::unique_ptr<Connection> candidate, Hello said) {
                                                 primary_ = std::move(candidate);
                                                 said_ = std::move(said);
                                                 if (welcoming_) {
                                                     primary_->welcome(greeting());
                                                 }
                                             },
                                             [this](const std::string& line) { warnings_.push_back(line); }});
        listener_->set_generation({1});
    }

    // Runs the I/O until `what` holds. The deadline is there so that a broken test ends.
    template <typename Condition>
    [[nodiscard]] bool run_until(Condition what) {
        const auto deadline = std::chrono::steady_clock::now() + 20s;
        while (!what() && std::chrono::steady_clock::now() < deadline) {
            io_.restart();
            io_.run_one_for(10ms);
        }
        return what();
    }

    std::optional<JoinFailure> try_to_join(const Hello& said, std::uint16_t port) {
        std::optional<JoinResult> result;
        join(io_, "127.0.0.1", port, said, 2s, {}, [&](JoinResult r) { result = std::move(r); });
        EXPECT_TRUE(run_until([&] { return result.has_value(); }));
        if (auto* joined = std::get_if<Joined>(&*result)) {
            backup_ = std::move(joined->connection);
            welcome_ = joined->welcome;
            return std::nullopt;
        }
        return std::get<JoinFailure>(*result);
    }

    // A connected pair of which the primary has begun and the backup not.
    void start_primary_alone() {
        listen();
        ASSERT_FALSE(try_to_join(hello(), listener_->port()));
        start_primary();
    }

    // A connected pair whose state is transferred.
    void pair(ChannelOptions options = {}) {
        listen(options);
        ASSERT_FALSE(try_to_join(hello(), listener_->port()));
        start_both();
        primary_->send_state(base_, std::make_unique<QuietMemory>(memory_), testing::bytes_of("vcpu"),
                             [&](const StateProgress& p) { sent_ = p; });
        ASSERT_TRUE(run_until([&] { return state_.has_value(); }));
    }

    void start_both() {
        receive_at_backup();
        start_primary();
    }

    void receive_at_backup() {
        backup_memory_.resize(kMemory);
        backup_->receive_state(backup_memory_);
        Connection::Handlers at_backup;
        at_backup.on_heard = [this] { ++heard_by_backup_; };
        at_backup.on_state = [this](LogBase base, std::vector<std::byte> vcpu) { state_ = {base, std::move(vcpu)}; };
        at_backup.on_records = [this](std::vector<ReceivedRecord> records) {
            for (auto& record : records) {
                received_.push_back(std::move(record.record));
            }
            if (on_records_) {
                on_records_();
            }
            if (acknowledging_) {
                backup_->acknowledge(received_.back().stop.number, {0});
            }
        };
        at_backup.on_report = [this](const Report& report) { released_ = report.released; };
        at_backup.on_formed = [this] { formed_ = true; };
        at_backup.on_goodbye = [this](const std::string& why) { goodbye_ = why; };
        at_backup.on_closed = [this](const std::string& why) { backup_closed_ = why; };
        backup_->start(std::move(at_backup));
    }

    void start_primary() {
        Connection::Handlers at_primary;
        at_primary.on_heard = [this] { ++heard_by_primary_; };
        at_primary.on_ready = [this] { ready_ = true; };
        at_primary.on_report = [this](const Report& report) { acknowledged_ = report.received; };
        at_primary.on_closed = [this](const std::string& why) { primary_closed_ = why; };
        primary_->start(std::move(at_primary));
    }

    static std::vector<std::byte> greeting_bytes() {
        std::vector<std::byte> bytes;
        for (const std::byte b : preamble()) {
            bytes.push_back(b);
        }
        return bytes;
    }

    tcp::socket raw_connection() {
        tcp::socket socket(io_);
        socket.connect({boost::asio::ip::make_address("127.0.0.1"), listener_->port()});
        return socket;
    }

    // What the peer does with the connection in the end: 0 bytes more, or this many before it closed.
    std::size_t bytes_until_closed(tcp::socket& socket) {
        std::vector<char> sink(1 << 16);
        std::size_t total = 0;
        bool closed = false;
        std::function<void()> more = [&] {
            socket.async_read_some(boost::asio::buffer(sink), [&](boost::system::error_code error, std::size_t size) {
                total += size;
                closed = error.failed();
                if (!closed) {
                    more();
                }
            });
        };
        more();
        EXPECT_TRUE(run_until([&] { return closed; }));
        return total;
    }

    std::vector<std::byte> sample_memory() const {
        testing::Sampler sampler(5);
        auto memory = sampler.noise(kMemory);
        std::fill_n(memory.begin() + 100 * kPageBytes, 300 * kPageBytes, std::byte{0});
        return memory;
    }

    boost::asio::io_context io_;
    std::optional<Listener> listener_;
    std::unique_ptr<Connection> primary_;
    std::unique_ptr<Connection> backup_;
    std::function<void()> on_records_;
    bool welcoming_ = true;
    bool acknowledging_ = true;
    std::optional<Hello> said_;
    Welcome welcome_;
    std::vector<std::string> warnings_;
    LogBase base_{{100}, {0}, GuestTime(0)};
    std::vector<std::byte> memory_ = sample_memory();
    std::vector<std::byte> backup_memory_;
    std::optional<std::pair<LogBase, std::vector<std::byte>>> state_;
    StateProgress sent_;
    std::vector<Record> received_;
    StopNumber acknowledged_;
    StopNumber released_;
    bool ready_ = false;
    bool formed_ = false;
    std::string goodbye_;
    std::string backup_closed_;
    std::string primary_closed_;
    int heard_by_backup_ = 0;
    int heard_by_primary_ = 0;
};

TEST_F(Channel, StateRecordsAcknowledgementsAndReports) {
    pair();
    EXPECT_EQ(said_->replica, "B");
    EXPECT_EQ(welcome_.replica, "P");
    EXPECT_EQ(welcome_.generation, Generation{2});
    EXPECT_EQ(welcome_.guest, testing::bytes_of("guest"));
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
    primary_->send_goodbye("the guest ended");
    ASSERT_TRUE(run_until([&] { return !goodbye_.empty(); }));
    EXPECT_EQ(goodbye_, "the guest ended");
    EXPECT_EQ(backup_closed_ + primary_closed_, "");
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

TEST_F(Channel, WhateverDiffersIsRefusedByName) {
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
    EXPECT_THAT(refusal([](Hello& h) { h.generation = {3}; }), HasSubstr("the arbiter knows generation 3"));
    EXPECT_THAT(refusal([](Hello& h) { h.replica = "P"; }), HasSubstr("no name of its own"));
    EXPECT_EQ(warnings_.size(), 5U);
    EXPECT_FALSE(primary_);
}

TEST_F(Channel, APrimaryThatCannotTakeABackupSaysWhy) {
    welcoming_ = false;
    listen();
    std::optional<JoinResult> result;
    join(io_, "127.0.0.1", listener_->port(), hello(), 5s, {}, [&](JoinResult r) { result = std::move(r); });
    ASSERT_TRUE(run_until([&] { return primary_ != nullptr; }));
    primary_->refuse("another backup has joined");
    primary_.reset();
    ASSERT_TRUE(run_until([&] { return result.has_value(); }));
    ASSERT_TRUE(std::holds_alternative<JoinFailure>(*result));
    EXPECT_TRUE(std::get<JoinFailure>(*result).refused);
    EXPECT_THAT(std::get<JoinFailure>(*result).reason, HasSubstr("another backup has joined"));
}

TEST_F(Channel, AnotherProtocolVersionIsNamedOnBothSides) {
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
        boost::asio::write(*accepted, boost::asio::buffer(preamble(2)));
    });
    const auto failure = try_to_join(hello(), old_primary.local_endpoint().port());
    ASSERT_TRUE(failure);
    EXPECT_THAT(failure->reason, HasSubstr("speaks version 2"));
}

TEST_F(Channel, GarbageIsDroppedNamedOnceAndHarmsNobody) {
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

TEST_F(Channel, ManySilentConnectionsDoNotPileUp) {
    listen();
    std::vector<tcp::socket> silent;
    for (int i = 0; i < 16; ++i) {
        silent.push_back(raw_connection());
    }
    tcp::socket one_more = raw_connection();
    EXPECT_EQ(bytes_until_closed(one_more), 0U);
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr("too many connections")));
    silent.clear();
    EXPECT_FALSE(try_to_join(hello(), listener_->port()));
}

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
    append_frame(bytes, testing::bytes_of(message.SerializeAsString()));
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

TEST_F(Channel, AnUnreachablePrimaryIsNamed) {
    listen();
    const auto port = listener_->port();
    listener_.reset();
    const auto failure = try_to_join(hello(), port);
    ASSERT_TRUE(failure);
    EXPECT_FALSE(failure->refused);
    EXPECT_THAT(failure->reason, HasSubstr("cannot join the primary at 127.0.0.1:" + std::to_string(port)));
}

TEST_F(Channel, APrimaryThatNeverAnswersCostsTheTimeoutOnly) {
    tcp::acceptor mute(io_, {boost::asio::ip::make_address("127.0.0.1"), 0});
    std::optional<JoinResult> result;
    join(io_, "127.0.0.1", mute.local_endpoint().port(), hello(), 100ms, {},
         [&](JoinResult r) { result = std::move(r); });
    ASSERT_TRUE(run_until([&] { return result.has_value(); }));
    EXPECT_THAT(std::get<JoinFailure>(*result).reason, HasSubstr("no answer in time"));
}

TEST_F(Channel, APortInUseIsAnError) {
    listen();
    ListenerConfig config;
    config.address = "127.0.0.1";
    config.port = listener_->port();
    EXPECT_THAT([&] { Listener second(io_, config, {}); },
                ::testing::ThrowsMessage<Error>(HasSubstr("choose another port")));
    config.address = "localhost or so";
    EXPECT_THAT([&] { Listener second(io_, config, {}); }, ::testing::ThrowsMessage<Error>(HasSubstr("no IP address")));
}

TEST_F(Channel, HandlersMayDestroyTheirConnection) {
    pair();
    on_records_ = [&] { backup_.reset(); };
    acknowledging_ = false;
    testing::Sampler sampler(14, 100);
    for (int i = 0; i < 10; ++i) {
        primary_->send_record(sampler.record());
        primary_->flush();  // the first record is one frame, the others gather in a second: it finds nobody
    }
    ASSERT_TRUE(run_until([&] { return !primary_closed_.empty(); }));
    EXPECT_EQ(received_.size(), 1U);
    EXPECT_EQ(backup_closed_, "");  // its owner closed it
}

}  // namespace
}  // namespace understudy::channel
