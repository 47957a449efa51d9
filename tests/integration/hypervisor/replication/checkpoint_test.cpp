// Real Linux guests that are checkpointed: nothing that changed is missing, and a guest goes on from what was kept.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "common/bytes.hpp"
#include "common/error.hpp"
#include "hypervisor/engine/kvm/kvm_engine.hpp"
#include "hypervisor/machine/guest.hpp"
#include "hypervisor/replication/loop/checkpoint_sink.hpp"
#include "hypervisor/replication/loop/vcpu_thread.hpp"
#include "tests/integration/tools/linux_root.hpp"
#include "tests/integration/tools/on_kvm.hpp"

namespace understudy::replication {
namespace {

using tools::testing::LinuxRoot;

class Checkpoints : public tools::testing::OnKvm {
  protected:
    void SetUp() override {
        OnKvm::SetUp();
        if (const std::string missing = IsSkipped() ? "" : LinuxRoot::missing(); !missing.empty()) {
            GTEST_SKIP() << missing;
        }
        if (!IsSkipped()) {
            root_ = std::make_unique<LinuxRoot>();
        }
    }
    [[nodiscard]] machine::LinuxConfig guest(const std::string& script) const {
        machine::LinuxConfig config;
        config.memory = 80_MiB;
        config.kernel = UNDERSTUDY_BINARY_DIR "/guest/linux/vmlinux";
        config.layer = UNDERSTUDY_BINARY_DIR "/guest/linux/layer";
        config.init = UNDERSTUDY_BINARY_DIR "/guest/linux/init";
        config.image = root_->image();
        config.arguments = {"sh", "-c", script};
        return config;
    }

    std::unique_ptr<LinuxRoot> root_;
};

// A vCPU's thread, until its guest has ended.
class Running {
  public:
    Running(std::unique_ptr<machine::Machine> machine, Sink& sink)
        : vcpu_(std::move(machine), {}, {[] {}, [] {}, [this] { ended_.set_value(); }}) {
        vcpu_.record(sink);
    }
    [[nodiscard]] machine::Machine& machine() { return vcpu_.machine(); }
    [[nodiscard]] VcpuThread& vcpu() { return vcpu_; }
    // What it threw.
    std::string await_end() {
        ended_.get_future().wait();
        vcpu_.end();
        try {
            if (vcpu_.failure()) {
                std::rethrow_exception(vcpu_.failure());
            }
        } catch (const Error& error) {
            return error.what();
        }
        return "";
    }

  private:
    std::promise<void> ended_;
    VcpuThread vcpu_;
};

std::string text_of(const std::vector<Output>& outputs) {
    std::string text;
    for (const Output& output : outputs) {
        if (output.kind == Output::Kind::console) {
            text += as_text(output.bytes);
        }
    }
    return text;
}

// Copies at each stop what was written, and looks whether the copy is the guest's memory.
class ComparingSink final : public Sink, private machine::WrittenPages {
  public:
    ComparingSink(Bytes memory, std::uint64_t most_stops) : copy_(memory.value), most_stops_(most_stops) {}
    void mark(const Record& /*mark*/, std::vector<Output> outputs) override { console_ += text_of(outputs); }
    void accept(const Record& record, std::vector<Output> outputs) override {
        restarts_ += record.stop.request == RequestKind::restart ? 1 : 0;
        console_ += text_of(outputs);
    }
    void settled(machine::Machine& machine) override {
        machine.take_written(*this);
        const auto memory = std::as_const(machine.memory()).all();
        if (std::memcmp(memory.data(), copy_.data(), copy_.size()) != 0) {
            const auto first = std::ranges::mismatch(memory, copy_).in1 - memory.begin();
            throw Error::format("stop {}: page {:#x} was written, and nobody says so", stops_,
                                static_cast<std::size_t>(first) / kPageBytes);
        }
        if (++stops_ >= most_stops_) {
            machine.abandon();
        }
    }
    [[nodiscard]] std::uint64_t stops() const { return stops_; }
    [[nodiscard]] std::uint64_t restarts() const { return restarts_; }
    [[nodiscard]] const std::string& console() const { return console_; }

  private:
    void take(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) override {
        for (std::size_t i = 0; i < numbers.size(); ++i) {
            std::memcpy(copy_.data() + numbers[i] * kPageBytes, content.data() + i * kPageBytes, kPageBytes);
        }
    }

    std::vector<std::byte> copy_;
    const std::uint64_t most_stops_;
    std::uint64_t stops_ = 0;
    std::uint64_t restarts_ = 0;
    std::string console_;
};

TEST_F(Checkpoints, MissNothingThatGuestOrMonitorWrote) {
    auto machine = machine::boot(guest("cat /bin/busybox > /tmp/a; dd if=/dev/urandom of=/tmp/b bs=64k count=40 "
                                       "2> /dev/null; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; rm /tmp/a "
                                       "/tmp/b; echo 3 > /proc/sys/vm/drop_caches; sleep 3; echo all done"),
                                 engine::KvmEngines());
    ComparingSink sink(machine->memory_size(), 1'000'000);
    Running running(std::move(machine), sink);
    EXPECT_EQ(running.await_end(), "");
    EXPECT_THAT(sink.console(), ::testing::HasSubstr("all done"));
    EXPECT_GT(sink.stops(), 50u);
}

TEST_F(Checkpoints, MissNothingOfAGuestThatStartsAgain) {
    auto config = guest("reboot -f");
    config.restarts_on_reboot = true;
    auto machine = machine::boot(config, engine::KvmEngines());
    ComparingSink sink(machine->memory_size(), 300);
    Running running(std::move(machine), sink);
    EXPECT_EQ(running.await_end(), "");
    EXPECT_GT(sink.restarts(), 0u);
}

// Where a guest's console ends up.
class ConsoleSink final : public Sink {
  public:
    void mark(const Record& /*mark*/, std::vector<Output> outputs) override { console += text_of(outputs); }
    void accept(const Record& /*record*/, std::vector<Output> outputs) override { console += text_of(outputs); }
    void settled(machine::Machine& /*machine*/) override {}
    std::string console;
};

// What left the first guest was held back until its checkpoint had arrived; so the one that goes on from there says all
// the rest, and nothing twice that left.
TEST_F(Checkpoints, AGuestGoesOnFromWhatWasKept) {
    constexpr int kLines = 60;
    constexpr int kLinesOfTheFirst = 10;  // at least
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    std::atomic<int> lines_said = 0;
    std::unique_ptr<CheckpointKeeper> keeper;
    std::thread keeping([&] {
        keeper = std::make_unique<CheckpointKeeper>(FileDescriptor{ends[1]});
        while (lines_said < kLinesOfTheFirst && keeper->take_next()) {
        }
        ::shutdown(ends[1], SHUT_RDWR);
    });
    auto first = machine::boot(guest("i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i.; sleep 0.03; done"),
                               engine::KvmEngines());
    const GuestShape shape = first->shape();
    std::string said;  // by the sink's own thread
    {
        CheckpointSink sink(FileDescriptor{ends[0]}, first->memory_size(), [&](const std::vector<Output>& outputs) {
            said += text_of(outputs);
            lines_said = static_cast<int>(std::ranges::count(said, '\n'));
        });
        Running running(std::move(first), sink);
        std::jthread clock([&](const std::stop_token& stop) {
            while (!stop.stop_requested()) {
                std::this_thread::sleep_for(std::chrono::milliseconds(25));
                sink.checkpoint_soon();
                running.vcpu().stop_soon();
            }
        });
        EXPECT_NE(running.await_end(), "") << "its keeper has gone";
        sink.end();
    }
    keeping.join();
    auto second = machine::blank(shape, root_->image().string(), engine::KvmEngines());
    std::ranges::copy(keeper->memory(), second->blank_memory().begin());
    second->restore_vcpu(keeper->processor());
    ConsoleSink sink;
    Running running(std::move(second), sink);
    EXPECT_EQ(running.await_end(), "");
    const std::string all = said + sink.console;
    std::string expected;
    for (int i = 1; i <= kLines; ++i) {
        expected += fmt::format("line {}.\r\n", i);
    }
    EXPECT_EQ(all, expected);
    EXPECT_FALSE(said.empty());
    EXPECT_FALSE(sink.console.empty());
}

}  // namespace
}  // namespace understudy::replication
