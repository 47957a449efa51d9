#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <memory>
#include <thread>

#include "common/bytes.hpp"
#include "hypervisor/engine/kvm/kvm_engine.hpp"
#include "hypervisor/machine/guest.hpp"
#include "hypervisor/replication/loop/loop.hpp"
#include "hypervisor/replication/loop/replayer.hpp"
#include "logging_channel/log_file.hpp"
#include "tools/torture/round.hpp"

namespace understudy::tools {
namespace {

constexpr std::size_t kMostContents = 64;  // pages

// Late at random.
class LateFeed final : public replication::RecordFeed {
  public:
    LateFeed(channel::LogReader& reader, std::uint64_t seed) : reader_(reader), random_(seed) {}
    std::optional<Record> next() override {
        constexpr std::uint64_t kOneIn = 16;
        constexpr std::uint64_t kMost = 2000;
        if (below(random_, kOneIn) == 0) {
            std::this_thread::sleep_for(std::chrono::microseconds(below(random_, kMost)));
        }
        auto entry = reader_.next();
        if (auto* record = std::get_if<Record>(&entry)) {
            return std::move(*record);
        }
        return std::nullopt;
    }

  private:
    channel::LogReader& reader_;
    RandomEngine random_;
};

// Compares memory with the trail of the recording.
class ComparingSink final : public replication::Sink {
  public:
    ComparingSink(const MemoryTrail& trail, Divergence& result) : trail_(trail), result_(result) {}

    void mark(const Record& /*mark*/, std::vector<Output> /*outputs*/) override {}
    void accept(const Record& record, std::vector<Output> outputs) override {
        stop_ = record.stop.number;
        for (const Output& output : outputs) {
            if (output.kind == Output::Kind::console) {
                result_.console += as_text(output.bytes);
            }
        }
    }
    void settled(machine::Machine& machine) override {
        look(machine, stop_);
        if (!result_.pages.empty()) {
            throw replication::Divergence(
                fmt::format("memory differs behind stop {}: {} pages", stop_.value, result_.pages.size()));
        }
    }

    void look(machine::Machine& machine, StopNumber stop) {
        const std::vector<ChangedPage>* const recorded = trail_.at(stop);
        if (recorded == nullptr) {
            return;
        }
        result_.pages = differences(*recorded, pages_.look(machine.memory().all()));
        for (const PageDifference& difference : result_.pages) {
            if (result_.contents.size() < kMostContents) {
                const auto page = machine.memory().all().subspan(difference.page * kTrailPageBytes, kTrailPageBytes);
                result_.contents.emplace_back(page.begin(), page.end());
            }
        }
    }

    [[nodiscard]] StopNumber stop() const { return stop_; }

  private:
    const MemoryTrail& trail_;
    Divergence& result_;
    PageDigests pages_;
    StopNumber stop_;
};

void stay_on(unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    // Where that processor is not ours, the replay runs where it may.
    (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

// Kicks the guest at arbitrary instructions, which a replay must not notice; ends it where the user wants an end.
void keep_kicking(machine::Machine& machine, const std::atomic<bool>& done, const RoundConfig& config,
                  std::uint64_t seed) {
    RandomEngine random(seed);
    constexpr std::uint64_t kMost = 3000;
    while (!done) {
        std::this_thread::sleep_for(std::chrono::microseconds(below(random, kMost)));
        if (config.stop.stop_requested()) {
            machine.abandon();
            return;
        }
        machine.kick(machine::Kick::anywhere);
    }
}

}  // namespace

Divergence replay_round(const RoundConfig& config, const std::filesystem::path& log, const Recorded& recorded,
                        unsigned cpu, std::uint64_t seed) {
    Divergence result;
    channel::LogReader reader(log);
    const std::unique_ptr<machine::Machine> machine =
        machine::blank(reader.header().guest, config.guest.image, engine::KvmEngines());
    machine->restore_vcpu(reader.read_state(machine->blank_memory()));
    LateFeed feed(reader, seed);
    replication::Replayer replayer(feed);
    ComparingSink sink(recorded.trail, result);
    std::exception_ptr failure;
    std::atomic<bool> done = false;
    std::thread vcpu([&] {
        stay_on(cpu);
        try {
            (void)replication::run_loop(*machine, {&replayer, &sink}, [] { return replication::Voice{}; });
        } catch (const replication::Divergence& divergence) {
            result.what = divergence.what();
            if (result.pages.empty()) {
                // The trail has memory with the stop's input, which this replay has not got: it differs by that, too.
                sink.look(*machine, {replayer.compared() + 1});
            }
        } catch (...) {
            failure = std::current_exception();
        }
        done = true;
    });
    keep_kicking(*machine, done, config, seed);
    vcpu.join();
    if (failure) {
        std::rethrow_exception(failure);
    }
    result.stop = {sink.stop().value == replayer.compared() ? replayer.compared() + 1 : sink.stop().value};
    if (!result.any() && recorded.failure.empty() && machine->memory_digest({}) != recorded.memory_digest) {
        result.what = "memory or the state of x87 and SSE differs at the end";
    }
    return result;
}

}  // namespace understudy::tools
