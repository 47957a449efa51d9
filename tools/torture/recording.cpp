#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "common/bytes.hpp"
#include "hypervisor/engine/kvm/kvm_engine.hpp"
#include "hypervisor/machine/cpuid_table.hpp"
#include "hypervisor/machine/guest.hpp"
#include "hypervisor/replication/loop/vcpu_thread.hpp"
#include "logging_channel/log_file.hpp"
#include "logging_channel/page_codec.hpp"
#include "tools/torture/round.hpp"

namespace understudy::tools {
namespace {

using Clock = std::chrono::steady_clock;

channel::LogHeader header_of(const RoundConfig& config, const machine::Machine& machine) {
    channel::LogHeader header;
    header.vm = config.guest.name;
    header.engine = machine.engine_name();
    header.cpu_table_digest = machine::cpuid_table_digest();
    header.guest = machine.shape();
    header.image = config.guest.image;
    header.quantum = config.quantum.value;
    header.start_time = std::chrono::system_clock::now().time_since_epoch();
    header.command_line = fmt::format("torture, seed {}", config.seed);
    header.recorder = "understudy torture";
    return header;
}

// Into the log, and what memory was into the trail.
// The first stops, while the guest boots.
constexpr std::uint64_t kAlwaysLooked = 64;

class RecordingSink final : public replication::Sink, private machine::WrittenPages {
  public:
    RecordingSink(channel::LogWriter& log, const RoundConfig& config, Recorded& result)
        : log_(log), look_interval_(config.look_interval), result_(result) {}

    machine::WrittenPages* written_pages() override { return this; }
    void mark(const Record& /*mark*/, std::vector<Output> outputs) override { keep(outputs); }
    void accept(const Record& record, std::vector<Output> outputs) override {
        log_.append(record);
        keep(outputs);
        stop_ = record.stop.number;
        ++result_.stops;
        result_.interrupts += record.stop.kind == StopKind::interrupt ? 1 : 0;
        seen_stops_ = result_.stops;
    }
    void settled(machine::Machine& machine) override {
        if (stop_.value % look_interval_ == 0 || stop_.value <= kAlwaysLooked) {
            result_.trail.add(stop_, pages_.look(machine.memory().all()));
        }
    }

    // From any thread.
    [[nodiscard]] std::uint64_t stops() const { return seen_stops_; }

  private:
    void take(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) override {
        log_.append(encoder_.encode(std::move(numbers), std::move(content)));
    }
    void keep(const std::vector<Output>& outputs) {
        for (const Output& output : outputs) {
            if (output.kind == Output::Kind::console) {
                result_.console += as_text(output.bytes);
            }
        }
    }

    channel::LogWriter& log_;
    channel::PageEncoder encoder_;
    const std::uint64_t look_interval_;
    Recorded& result_;
    PageDigests pages_;
    StopNumber stop_;
    std::atomic<std::uint64_t> seen_stops_{0};
};

// Told on the vCPU's thread.
class Ended {
  public:
    void tell() {
        const std::lock_guard lock(mutex_);
        ended_ = true;
        wake_.notify_all();
    }
    [[nodiscard]] bool wait(std::chrono::microseconds time) {
        std::unique_lock lock(mutex_);
        return wake_.wait_for(lock, time, [this] { return ended_; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable wake_;
    bool ended_ = false;
};

void disturb(replication::VcpuThread& vcpu, RandomEngine& random, const machine::NicAddresses& guest) {
    constexpr std::uint64_t kMostFrames = 8;
    switch (below(random, 5)) {
        case 0:
            vcpu.stop_soon();
            break;
        case 1:
            vcpu.kick_if_running();
            break;
        case 2:
            vcpu.machine().kick(machine::Kick::anywhere);
            break;
        default:
            for (std::uint64_t frames = below(random, kMostFrames); frames > 0; --frames) {
                vcpu.input().push(some_frame(random, guest));
            }
            if (below(random, 2) == 0) {
                vcpu.kick_if_running();
            }
    }
}

// False: patience came to its end before the guest did, or the user wants one.
bool let_it_run(replication::VcpuThread& vcpu, const RecordingSink& sink, Ended& ended, const RoundConfig& config) {
    RandomEngine random(config.seed);
    const machine::NicAddresses guest{config.guest.network.mac, config.guest.network.address};
    const auto deadline = Clock::now() + config.patience;
    auto overdue = Clock::now() + replication::Recorder::kOverdueInterval;
    constexpr std::uint64_t kStopsBetween = 2;
    std::uint64_t disturbed_at = 0;
    const auto most = static_cast<std::uint64_t>(config.quiet.count()) + 1;
    while (!ended.wait(std::chrono::microseconds(below(random, most)))) {
        const auto now = Clock::now();
        if (now > deadline || config.stop.stop_requested()) {
            return false;
        }
        // A look at memory may take longer than the guest runs: every other stop is the guest's own, so that it comes
        // on.
        if (config.noise && sink.stops() >= disturbed_at + kStopsBetween) {
            disturbed_at = sink.stops();
            disturb(vcpu, random, guest);
        }
        if (now >= overdue) {
            vcpu.kick_if_overdue();
            overdue = now + replication::Recorder::kOverdueInterval;
        }
    }
    return true;
}

}  // namespace

Recorded record_round(const RoundConfig& config, const std::filesystem::path& log_path) {
    Recorded result;
    Ended ended;
    replication::VcpuThread vcpu(machine::boot(config.guest, engine::KvmEngines()),
                                 {config.quantum, config.digest_interval, {0}}, {{}, [] {}, [&] { ended.tell(); }});
    machine::Machine& machine = vcpu.machine();
    channel::LogWriter log(log_path, header_of(config, machine), machine.memory().all(), machine.save_vcpu());
    RecordingSink sink(log, config, result);
    vcpu.record(sink);
    const bool in_time = let_it_run(vcpu, sink, ended, config);
    vcpu.end();
    if (vcpu.failure()) {
        std::rethrow_exception(vcpu.failure());
    }
    log.finish();
    result.log_bytes = log.size().value;
    result.counts = machine.count().value;
    result.memory_digest = machine.memory_digest({});
    if (!in_time) {
        result.failure = fmt::format("the guest did not end within {} s", config.patience.count());
    } else if (vcpu.result().ending == replication::Ending::fault) {
        result.failure = machine.fault_report().text();
    } else {
        result.status = vcpu.result().last.stop.argument;
    }
    return result;
}

}  // namespace understudy::tools
