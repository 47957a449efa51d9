#include "hypervisor/replication/loop/lone_guest.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>

#include "common/digest.hpp"
#include "common/ending_signals.hpp"
#include "common/tell.hpp"
#include "hypervisor/engine/kvm/kvm_engine.hpp"
#include "hypervisor/machine/cpuid_table.hpp"
#include "hypervisor/machine/guest.hpp"
#include "hypervisor/replication/loop/live_io.hpp"
#include "hypervisor/replication/loop/periodic.hpp"
#include "hypervisor/replication/loop/replayer.hpp"
#include "hypervisor/replication/loop/vcpu_thread.hpp"
#include "logging_channel/log_file.hpp"
#include "logging_channel/page_codec.hpp"

namespace understudy::replication {
namespace {

channel::LogHeader header_of(const LoneGuestConfig& config, const machine::Machine& machine) {
    channel::LogHeader header;
    header.vm = machine::name_of(config.guest);
    header.engine = machine.engine_name();
    header.cpu_table_digest = machine::cpuid_table_digest();
    header.guest = machine.shape();
    header.image = machine::image_of(config.guest);
    header.quantum = config.recorder.quantum.value;
    header.start_time = std::chrono::system_clock::now().time_since_epoch();
    header.command_line = config.command_line;
    header.recorder = "understudy " UNDERSTUDY_VERSION;
    return header;
}

// Releases outputs at once, and keeps the log if one is wanted.
class LoneSink final : public Sink, private machine::WrittenPages {
  public:
    using Release = std::function<void(std::vector<Output>)>;
    LoneSink(Release release, channel::LogWriter* log) : release_(std::move(release)), log_(log) {}

    machine::WrittenPages* written_pages() override { return log_ != nullptr ? this : nullptr; }
    void mark(const Record& /*mark*/, std::vector<Output> outputs) override { release_(std::move(outputs)); }
    void accept(const Record& record, std::vector<Output> outputs) override {
        if (log_ != nullptr) {
            log_->append(record);
        }
        release_(std::move(outputs));
        ++stops_;
    }
    void settled(machine::Machine& /*machine*/) override {}

    [[nodiscard]] std::uint64_t stops() const { return stops_; }

  private:
    void take(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) override {
        log_->append(encoder_.encode(std::move(numbers), std::move(content)));
    }

    const Release release_;
    channel::LogWriter* log_;
    channel::PageEncoder encoder_;
    std::uint64_t stops_ = 0;
};

// A log file as a feed; remembers how the file ended.
class FileFeed final : public RecordFeed {
  public:
    explicit FileFeed(channel::LogReader& reader) : reader_(reader) {}
    std::optional<Record> next() override {
        auto entry = reader_.next();
        if (auto* record = std::get_if<Record>(&entry)) {
            return std::move(*record);
        }
        end_ = std::get<channel::LogEnd>(entry);
        return std::nullopt;
    }
    [[nodiscard]] const channel::LogEnd& end() const { return end_; }

  private:
    channel::LogReader& reader_;
    channel::LogEnd end_;
};

void write_memory(machine::Machine& machine, const std::filesystem::path& path) {
    std::ofstream file(path, std::ios::binary);
    const auto write = [&file](std::span<const std::byte> bytes) {
        file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    };
    std::error_code ignored;  // where the file is another's, its owner has decided who reads it
    std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write,
                                 ignored);
    write(machine.memory().all());
    write(machine.save_vcpu());
    if (!file.flush()) {
        throw Error::format("cannot write the guest's memory to {}", path.string());
    }
}

// A replayer that writes the guest's memory at one stop.
class WatchedReplayer final : public Replayer {
  public:
    WatchedReplayer(RecordFeed& feed, const ReplayConfig& config) : Replayer(feed), config_(config) {}

    std::optional<Input> input(const Record& reached, machine::Machine& machine) override {
        if (config_.memory && config_.memory_at == reached.stop.number) {
            write_memory(machine, *config_.memory);
            written_ = true;
        }
        return Replayer::input(reached, machine);
    }
    [[nodiscard]] bool written() const { return written_; }

  private:
    const ReplayConfig& config_;
    bool written_ = false;
};

// Keeps the console text that a replayed guest prints.
class ReplaySink final : public Sink {
  public:
    void mark(const Record& /*mark*/, std::vector<Output> /*outputs*/) override {}
    void accept(const Record& /*record*/, std::vector<Output> outputs) override {
        for (const Output& output : outputs) {
            if (output.kind == Output::Kind::console) {
                console_.append(reinterpret_cast<const char*>(output.bytes.data()), output.bytes.size());
            }
        }
    }
    void settled(machine::Machine& /*machine*/) override {}
    [[nodiscard]] const std::string& console() const { return console_; }

  private:
    std::string console_;
};

// What nobody will compare is not digested.
RecorderConfig recorder_of(const LoneGuestConfig& config) {
    RecorderConfig recorder = config.recorder;
    if (!config.log) {
        recorder.memory_digest_interval = GuestTime{0};
    }
    return recorder;
}

network::LinkConfig link_of(const LoneGuestConfig& config, const machine::Machine& machine) {
    network::LinkConfig link = config.link;
    link.format = machine.frame_format();
    return link;
}

void print(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
}

// A guest alone and what stands around it, on the calling thread: the I/O thread.
class LoneGuest {
  public:
    explicit LoneGuest(const LoneGuestConfig& config)
        : vcpu_(machine::boot(config.guest, engine::KvmEngines()), recorder_of(config),
                {config.on_guest_thread, [] {}, [this] { stop_io(); }}),
          overdue_(io_, Recorder::kOverdueInterval, [this] { vcpu_.kick_if_overdue(); }),
          live_(io_, vcpu_.input(), link_of(config, machine()), config.console,
                {[this] { vcpu_.kick_if_running(); }, print, [this] { io_.stop(); },
                 [](const std::string& line) { tell("understudy: {}\n", line); }}) {
        const auto release = [this](std::vector<Output> outputs) { release_soon(std::move(outputs)); };
        if (!config.checkpoint_keeper.empty()) {
            checkpointed_.emplace(connect_to_keeper(config.checkpoint_keeper), machine().memory_size(), release);
            checkpoints_.emplace(io_, config.checkpoint_interval, [this] {
                checkpointed_->checkpoint_soon();
                vcpu_.stop_soon();
            });
            return;
        }
        if (config.log) {
            log_.emplace(*config.log, header_of(config, machine()), machine().memory().all(), machine().save_vcpu());
        }
        alone_.emplace(release, log_ ? &*log_ : nullptr);
    }
    ~LoneGuest() { end(); }
    LoneGuest(const LoneGuest&) = delete;
    LoneGuest& operator=(const LoneGuest&) = delete;

    LoneGuestResult run() {
        boost::asio::signal_set signals(io_);
        for (const int signal : ending_signals()) {
            signals.add(signal);
        }
        signals.async_wait([this](const boost::system::error_code& error, int /*signal*/) {
            if (!error) {
                io_.stop();
            }
        });
        live_.speak({Generation{1}, false});
        vcpu_.record(alone_ ? static_cast<Sink&>(*alone_) : *checkpointed_);
        io_.run();
        end();
        if (vcpu_.failure()) {
            std::rethrow_exception(vcpu_.failure());
        }
        return result();
    }

  private:
    [[nodiscard]] machine::Machine& machine() { return vcpu_.machine(); }

    // The vCPU's thread ends before what it uses; who may hold it lets it go first.
    void end() {
        if (checkpointed_) {
            checkpointed_->end();
        }
        vcpu_.end();
    }
    // Both from other threads. What was released before the end is posted before it.
    void stop_io() {
        boost::asio::post(io_, [this] { io_.stop(); });
    }
    void release_soon(std::vector<Output> outputs) {
        if (!outputs.empty()) {
            boost::asio::post(io_, [this, outputs = std::move(outputs)] { live_.release(outputs); });
        }
    }

    LoneGuestResult result() {
        LoneGuestResult result;
        result.loop = vcpu_.result();
        result.memory_digest = machine().memory_digest({});
        if (log_) {
            log_->finish();
            result.log_bytes = log_->size().value;
        }
        if (result.loop.ending == Ending::fault) {
            result.fault_report = machine().fault_report().text();
        }
        if (checkpointed_) {
            result.checkpoints = checkpointed_->figures();
        }
        result.stops = checkpointed_ ? result.checkpoints->stops : alone_->stops();
        result.counts = machine().count().value;
        result.exits = machine().exits();
        return result;
    }

    boost::asio::io_context io_{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_ = boost::asio::make_work_guard(io_);
    VcpuThread vcpu_;
    Periodic overdue_;
    LiveIo live_;
    std::optional<channel::LogWriter> log_;
    std::optional<LoneSink> alone_;  // or
    std::optional<CheckpointSink> checkpointed_;
    std::optional<Periodic> checkpoints_;
};

}  // namespace

LoneGuestResult run_lone_guest(const LoneGuestConfig& config) {
    return LoneGuest(config).run();
}

ReplayResult replay_log(const ReplayConfig& config) {
    channel::LogReader reader(config.log);
    const channel::LogHeader& header = reader.header();
    const std::string& image = config.image.empty() ? header.image : config.image;
    if (config.on_open) {
        config.on_open(image);
    }
    if (header.cpu_table_digest != machine::cpuid_table_digest()) {
        throw Error::format("{} was recorded with another CPU table; replay it with the version that recorded it",
                            config.log.string());
    }
    const std::unique_ptr<machine::Machine> machine = machine::blank(header.guest, image, engine::KvmEngines());
    if (header.engine != machine->engine_name()) {
        throw Error::format("{} was recorded on engine {}, this host has {}", config.log.string(), header.engine,
                            machine->engine_name());
    }
    machine->restore_vcpu(reader.read_state(machine->blank_memory()));

    FileFeed feed(reader);
    WatchedReplayer replayer(feed, config);
    ReplaySink sink;
    ReplayResult result;
    try {
        result.loop = run_loop(*machine, {&replayer, &sink}, [] { return Voice{}; });
    } catch (const Divergence& divergence) {
        result.divergence = divergence.what();
    }
    if (config.memory && !replayer.written()) {
        if (config.memory_at) {
            throw Error::format("the replay did not come to stop {}: it ended behind {} records{}",
                                config.memory_at->value, replayer.compared(),
                                result.divergence.empty() ? "" : "; " + result.divergence);
        }
        write_memory(*machine, *config.memory);
    }
    result.records = replayer.compared();
    result.memory_digest = machine->memory_digest({});
    result.console = sink.console();
    if (result.loop.ending == Ending::fault) {
        result.fault_report = machine->fault_report().text();
    }
    // The loop may end before the file does (the program's end is the last record): look at what follows.
    if (result.divergence.empty()) {
        while (feed.next()) {
        }
        if (feed.end().how != channel::LogEnd::How::finished) {
            result.log_end = feed.end().describe();
        }
    }
    return result;
}

}  // namespace understudy::replication
