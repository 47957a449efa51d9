// A listener, a primary's end of a channel and a backup's, over a real socket on loopback, and what each has heard.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "logging_channel/channel.hpp"
#include "logging_channel/preamble.hpp"
#include "tests/unit/logging_channel/sample.hpp"

namespace understudy::channel {

class Channel : public ::testing::Test {
  protected:
    static constexpr std::size_t kMemory = 600 * kPageBytes;

    static Hello hello() { return {"web", "B", "kvm", 0x77, "test"}; }
    static Welcome greeting() { return {"P", {2}, {GuestKind::small, {kMemory}, {}}}; }

    void listen(const ChannelOptions& options = {}) {
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
    }

    // Runs the I/O until `what` holds. The deadline is there so that a broken test ends.
    template <typename Condition>
    [[nodiscard]] bool run_until(Condition what) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!what() && std::chrono::steady_clock::now() < deadline) {
            io_.restart();
            io_.run_one_for(std::chrono::milliseconds(10));
        }
        return what();
    }

    std::optional<JoinFailure> try_to_join(const Hello& said, std::uint16_t port, const ChannelOptions& options = {}) {
        std::optional<JoinResult> result;
        join(io_, "127.0.0.1", port, said, std::chrono::seconds(2), options,
             [&](JoinResult r) { result = std::move(r); });
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
    void pair(const ChannelOptions& options = {}) {
        listen(options);
        ASSERT_FALSE(try_to_join(hello(), listener_->port(), options));
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
                backup_->set_progress(received_.back().stop.number, {0});
                backup_->flush();
            }
        };
        at_backup.on_report = [this](const Report& report) { released_ = report.released; };
        at_backup.on_formed = [this] { formed_ = true; };
        at_backup.on_goodbye = [this](const Goodbye& goodbye) { goodbye_ = goodbye; };
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

    boost::asio::ip::tcp::socket raw_connection() {
        boost::asio::ip::tcp::socket socket(io_);
        socket.connect({boost::asio::ip::make_address("127.0.0.1"), listener_->port()});
        return socket;
    }

    // What the peer does with the connection in the end: 0 bytes more, or this many before it closed.
    std::size_t bytes_until_closed(boost::asio::ip::tcp::socket& socket) {
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
    std::optional<Goodbye> goodbye_;
    std::string backup_closed_;
    std::string primary_closed_;
    int heard_by_backup_ = 0;
    int heard_by_primary_ = 0;
};

}  // namespace understudy::channel
