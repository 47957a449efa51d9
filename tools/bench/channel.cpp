#include "tools/bench/channel.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"
#include "common/tls/authority.hpp"
#include "logging_channel/channel.hpp"
#include "tools/bench/rows.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::tools {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{60'000};
constexpr std::size_t kFrameBytes = 200;  // of each record: a small request
const VmId kVm = "bench";

double microseconds_since(Clock::time_point begin) {
    return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

// A backup on a thread of its own: it takes the state, and acknowledges every record at once.
class Backup {
  public:
    Backup(std::uint16_t port, const channel::ChannelOptions& options, std::span<std::byte> memory) : memory_(memory) {
        channel::Hello hello{kVm, "backup", "bench", 0, "bench"};
        channel::join(io_, "127.0.0.1", port, hello, kPatience, options,
                      [this](channel::JoinResult result) { joined(std::move(result)); });
        thread_ = std::thread([this] { io_.run(); });
    }
    ~Backup() {
        boost::asio::post(io_, [this] { connection_.reset(); });
        work_.reset();
        thread_.join();
    }
    Backup(const Backup&) = delete;
    Backup& operator=(const Backup&) = delete;

  private:
    void joined(channel::JoinResult result) {
        auto* joined = std::get_if<channel::Joined>(&result);
        if (joined == nullptr) {
            return;  // the primary notices
        }
        connection_ = std::move(joined->connection);
        connection_->receive_state(memory_);
        channel::Connection::Handlers handlers;
        handlers.on_state = [this](channel::LogBase /*base*/, const std::vector<std::byte>& /*vcpu*/) {
            connection_->send_ready();
        };
        handlers.on_records = [this](const std::vector<channel::ReceivedRecord>& records) {
            connection_->set_progress(records.back().record.stop.number, {0});
            connection_->flush();
        };
        connection_->start(std::move(handlers));
    }

    std::span<std::byte> memory_;
    boost::asio::io_context io_{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_ = boost::asio::make_work_guard(io_);
    std::unique_ptr<channel::Connection> connection_;
    std::thread thread_;
};

struct Measured {
    double join_us = 0;
    double mib_per_second = 0;
    std::vector<double> round_trips_us;
};

// A primary and its backup, for one measurement.
class Session {
  public:
    Session(const ChannelBenchOptions& options, std::shared_ptr<tls::Context> tls)
        : options_(options), memory_(std::size_t{options.mebibytes} << 20U), backup_memory_(memory_.size()) {
        for (std::size_t i = 0; i < memory_.size(); i += sizeof i) {  // no page is zero
            *reinterpret_cast<std::size_t*>(memory_.data() + i) = i * 0x9e3779b97f4a7c15U;
        }
        channel::ListenerConfig config;
        config.address = "127.0.0.1";
        config.vm = kVm;
        config.replica = "primary";
        config.engine = "bench";
        config.options.tls = std::move(tls);
        channel_ = config.options;
        listener_.emplace(
            io_, config,
            channel::Listener::Handlers{[this](std::unique_ptr<channel::Connection> candidate,
                                               const channel::Hello& /*hello*/) { connection_ = std::move(candidate); },
                                        [this](const std::string& line) { trouble_ = line; }});
    }

    Measured measure() {
        Measured measured;
        auto begin = Clock::now();
        const Backup backup(listener_->port(), channel_, backup_memory_);
        until([&] { return connection_ != nullptr; });
        measured.join_us = microseconds_since(begin);
        connection_->welcome({"primary", {1}, {GuestKind::small, {memory_.size()}, {}}});
        bool ready = false;
        StopNumber acknowledged;
        channel::Connection::Handlers handlers;
        handlers.on_ready = [&] { ready = true; };
        handlers.on_report = [&](const channel::Report& report) { acknowledged = report.received; };
        handlers.on_closed = [this](const std::string& why) { trouble_ = why; };
        connection_->start(std::move(handlers));

        begin = Clock::now();
        connection_->send_state({}, std::make_unique<channel::QuietMemory>(memory_), {}, {});
        until([&] { return ready; });
        measured.mib_per_second = options_.mebibytes / (microseconds_since(begin) / 1e6);

        Record record;
        record.input.frames.assign(1, Frame(kFrameBytes));
        for (std::uint64_t stop = 1; stop <= options_.round_trips; ++stop) {
            record.stop.number = {stop};
            record.stop.count = {stop * 1000};
            begin = Clock::now();
            connection_->send_record(record);
            connection_->flush();
            until([&] { return acknowledged.value >= stop; });
            measured.round_trips_us.push_back(microseconds_since(begin));
        }
        connection_.reset();
        return measured;
    }

  private:
    template <typename Condition>
    void until(Condition condition) {
        const auto deadline = Clock::now() + kPatience;
        while (!condition()) {
            io_.restart();
            if (io_.run_one_until(deadline) == 0 || !trouble_.empty()) {
                throw Error::format("the channel did not work: {}", trouble_.empty() ? "no answer" : trouble_);
            }
        }
    }

    const ChannelBenchOptions& options_;
    std::vector<std::byte> memory_;
    std::vector<std::byte> backup_memory_;
    boost::asio::io_context io_{1};
    channel::ChannelOptions channel_;
    std::optional<channel::Listener> listener_;
    std::unique_ptr<channel::Connection> connection_;
    std::string trouble_;
};

// Of one variant, a value for each repetition.
struct Series {
    std::vector<double> joins_us;
    std::vector<double> mib_per_second;
    std::vector<double> round_trips_us;  // medians
    std::vector<double> slowest_us;      // 99th percentiles

    void add(const Measured& measured) {
        joins_us.push_back(measured.join_us);
        mib_per_second.push_back(measured.mib_per_second);
        round_trips_us.push_back(report::median(measured.round_trips_us));
        slowest_us.push_back(report::quantile(measured.round_trips_us, 0.99));
    }
};

}  // namespace

report::Section measure_channel(const ChannelBenchOptions& options) {
    const TemporaryDirectory site("understudy-bench");
    const tls::Identity host{.role = tls::Role::host, .name = "host-bench", .vms = {kVm}};
    tls::make_certificates(site.path(), {host});
    const auto credentials = std::make_shared<tls::Context>(site.path() / host.name);
    Series plain;
    Series encrypted;
    for (unsigned i = 0; i < options.repeats; ++i) {
        plain.add(Session(options, nullptr).measure());
        encrypted.add(Session(options, credentials).measure());
    }
    report::Section section;
    section.name = "channel";
    section.title = "The logging channel";
    section.text = "In plain text and under TLS, by turns, over loopback: one process is both ends.";
    section.command = fmt::format("understudy bench channel --repeats {} --mebibytes {} --round-trips {}",
                                  options.repeats, options.mebibytes, options.round_trips);
    const auto add = [&](const char* what, const char* unit, std::vector<double> Series::*values) {
        section.rows.push_back({.what = what,
                                .unit = unit,
                                .measured = {"TLS", encrypted.*values},
                                .baseline = report::Samples{"plain text", plain.*values}});
    };
    add("transfer of a state", "MiB/s", &Series::mib_per_second);
    add("a record and its acknowledgement, median", "us", &Series::round_trips_us);
    add("the same, 99th percentile", "us", &Series::slowest_us);
    add("joining, until the greeting is there", "us", &Series::joins_us);
    section.plots.emplace_back(bars_of(section.rows, "A state's transfer", "MiB/s", "TLS"));
    section.plots.emplace_back(bars_of(section.rows, "Round trips and joins", "us", "TLS"));
    return section;
}

}  // namespace understudy::tools
