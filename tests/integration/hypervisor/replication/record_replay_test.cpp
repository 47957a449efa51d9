// Real guests on /dev/kvm, recorded and replayed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "common/temporary_directory.hpp"
#include "guest/abi/abi.hpp"
#include "hypervisor/replication/loop/lone_guest.hpp"
#include "logging_channel/log_file.hpp"

namespace understudy::replication {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class RecordReplay : public testing::Test {
  protected:
    void SetUp() override {
        if (::access("/dev/kvm", R_OK | W_OK) != 0) {
            GTEST_SKIP() << "needs a usable /dev/kvm (understudy doctor says what is missing)";
        }
    }

    LoneGuestResult record(const std::string& program, std::vector<std::string> arguments, std::uint64_t quantum,
                           GuestTime digest_interval) {
        machine::VmConfig vm;
        vm.kernel = std::string(UNDERSTUDY_BINARY_DIR) + "/guest-kernel";
        vm.program = program;
        vm.arguments = std::move(arguments);
        vm.memory = 32_MiB;
        LoneGuestConfig config;
        config.guest = std::move(vm);
        config.link.endpoint = "none";
        config.recorder.quantum = {quantum};
        config.recorder.memory_digest_interval = digest_interval;
        config.recorder.memory_digest_window = {0};
        config.log = log();
        return run_lone_guest(config);
    }
    [[nodiscard]] fs::path log() const { return folder_.path() / "log"; }
    [[nodiscard]] static std::string test_program(const std::string& name) {
        return std::string(REPLICATION_PROGRAMS) + "/" + name;
    }
    // How many stops of a kind the log holds.
    [[nodiscard]] std::size_t stops(StopKind kind) const {
        channel::LogReader reader(log());
        reader.skip_state();
        std::size_t count = 0;
        for (auto entry = reader.next(); std::holds_alternative<Record>(entry); entry = reader.next()) {
            count += std::get<Record>(entry).stop.kind == kind ? 1 : 0;
        }
        return count;
    }
    [[nodiscard]] std::size_t requests(RequestKind kind) const {
        channel::LogReader reader(log());
        reader.skip_state();
        std::size_t count = 0;
        for (auto entry = reader.next(); std::holds_alternative<Record>(entry); entry = reader.next()) {
            count += std::get<Record>(entry).stop.request == kind ? 1 : 0;
        }
        return count;
    }
    // Writes the log again with `change` applied to each record.
    template <typename Change>
    void rewrite(Change change) {
        const fs::path changed = folder_.path() / "changed";
        {
            channel::LogReader reader(log());
            std::vector<std::byte> memory(reader.header().guest.memory.value);
            auto vcpu = reader.read_state(memory);
            channel::LogWriter writer(changed, reader.header(), memory, std::move(vcpu));
            for (auto entry = reader.next(); std::holds_alternative<Record>(entry); entry = reader.next()) {
                auto& record = std::get<Record>(entry);
                change(record);
                writer.append(record);
            }
            writer.finish();
        }
        fs::rename(changed, log());
    }

    const TemporaryDirectory folder_;
};

void expect_equal(const LoneGuestResult& recorded, const ReplayResult& replayed) {
    EXPECT_EQ(replayed.divergence, "");
    EXPECT_EQ(replayed.log_end, "");
    EXPECT_EQ(replayed.records, recorded.stops);
    EXPECT_EQ(replayed.memory_digest, recorded.memory_digest);
}

// Timer interrupts arrive while a loop computes without a system call; a replay delivers each at the same count.
TEST_F(RecordReplay, TimerInterruptsInAComputingLoop) {
    const LoneGuestResult recorded = record(test_program("interrupts"), {}, 200'000, std::chrono::milliseconds(20));
    ASSERT_EQ(recorded.loop.ending, Ending::exit);
    EXPECT_GT(stops(StopKind::budget), 50u);
    const ReplayResult replayed = replay_log({log()});
    expect_equal(recorded, replayed);
    unsigned long long ticks = 0;
    ASSERT_EQ(std::sscanf(replayed.console.c_str(), "ticks=%llu", &ticks), 1) << replayed.console;
    EXPECT_GT(ticks, 10u);
}

// The interval at which a busy guest is stopped must not matter to a replay, whatever it is.
TEST_F(RecordReplay, EveryKernelOfSpinAtAnOddQuantum) {
    const LoneGuestResult recorded = record(std::string(UNDERSTUDY_BINARY_DIR) + "/programs/spin", {"--rounds", "2"},
                                            70'001, std::chrono::milliseconds(50));
    ASSERT_EQ(recorded.loop.ending, Ending::exit);
    const ReplayResult replayed = replay_log({log()});
    expect_equal(recorded, replayed);
    EXPECT_THAT(replayed.console, HasSubstr("total rounds=2"));
}

// A program that nobody counts is stopped by time, at its next system call: its clock must keep up with the world's.
TEST_F(RecordReplay, TheClockGoesOnWhileUncountedCodeComputes) {
    const LoneGuestResult recorded = record(test_program("uncounted_clock"), {}, 1u << 22, GuestTime{0});
    ASSERT_EQ(recorded.loop.ending, Ending::exit);
    EXPECT_EQ(recorded.loop.last.stop.argument, 0u);
    expect_equal(recorded, replay_log({log()}));
}

TEST_F(RecordReplay, NondeterministicInstructionsAreRecordedOrAnsweredFromTheTable) {
    const LoneGuestResult recorded = record(test_program("nondeterminism"), {}, 1u << 22, std::chrono::milliseconds(1));
    ASSERT_EQ(recorded.loop.ending, Ending::exit);
    const ReplayResult replayed = replay_log({log()});
    expect_equal(recorded, replayed);
    EXPECT_THAT(replayed.console, HasSubstr("tsc grows=1"));
    EXPECT_THAT(replayed.console, HasSubstr("processor=0"));
    EXPECT_THAT(replayed.console, HasSubstr("rdrand carry=1"));
    EXPECT_THAT(replayed.console, HasSubstr("rdrand32 upper=0"));
    EXPECT_THAT(replayed.console, HasSubstr("rdpid 0"));
    EXPECT_THAT(replayed.console, HasSubstr("cpuid AuthenticAMD"));
    EXPECT_THAT(replayed.console, HasSubstr("xgetbv 3 0"));
}

// Data between the functions of an assembly source stays what it is, and the instructions around it are found.
class DataInCode : public RecordReplay, public testing::WithParamInterface<std::string> {};

TEST_P(DataInCode, IsLeftAloneAndTheCodeAroundItReplays) {
    const LoneGuestResult recorded = record(test_program(GetParam()), {}, 1u << 22, std::chrono::milliseconds(1));
    ASSERT_EQ(recorded.loop.ending, Ending::exit);
    const ReplayResult replayed = replay_log({log()});
    expect_equal(recorded, replayed);
    EXPECT_THAT(replayed.console, HasSubstr("object whole"));
    EXPECT_THAT(replayed.console, HasSubstr("nameless whole"));
    EXPECT_THAT(replayed.console, HasSubstr("immediate whole"));
    EXPECT_THAT(replayed.console, HasSubstr("last word b848"));
    EXPECT_THAT(replayed.console, HasSubstr("stamps grow"));
    EXPECT_EQ(requests(RequestKind::rdtsc), 3u);
}
INSTANTIATE_TEST_SUITE_P(Images, DataInCode, testing::Values("tables", "tables_stripped"),
                         [](const auto& tested) { return tested.param; });

TEST_F(RecordReplay, TheFirstDivergentRecordIsNamedWithWhatDiffers) {
    static_cast<void>(record(test_program("interrupts"), {}, 200'000, std::chrono::milliseconds(1)));
    // A clock that is one microsecond off, once: the next digest of memory must show it.
    constexpr std::uint64_t kChanged = 60;
    rewrite([](Record& record) {
        if (record.stop.number.value == kChanged) {
            record.input.clock += std::chrono::microseconds(1);
        }
    });
    const ReplayResult replayed = replay_log({log()});
    EXPECT_THAT(replayed.divergence, HasSubstr("does not agree with the guest"));
    EXPECT_THAT(replayed.divergence, HasSubstr("memory"));
    EXPECT_GE(replayed.records, kChanged);
}

TEST_F(RecordReplay, AWrongDigestOfRegistersIsNamedAtItsRecord) {
    static_cast<void>(record(test_program("nondeterminism"), {}, 1u << 22, GuestTime{0}));
    rewrite([](Record& record) { record.digests.registers ^= record.stop.number.value == 5 ? 1 : 0; });
    const ReplayResult replayed = replay_log({log()});
    EXPECT_THAT(replayed.divergence, HasSubstr("record 5 does not agree with the guest: registers"));
    EXPECT_EQ(replayed.records, 4u);
}

TEST_F(RecordReplay, ATruncatedLogIsReplayedAsFarAsItIsWhole) {
    static_cast<void>(record(test_program("nondeterminism"), {}, 1u << 22, GuestTime{0}));
    fs::resize_file(log(), fs::file_size(log()) - 20);
    const ReplayResult replayed = replay_log({log()});
    EXPECT_EQ(replayed.divergence, "");
    EXPECT_GT(replayed.records, 3u);
    EXPECT_THAT(replayed.log_end, HasSubstr("byte"));
    EXPECT_THAT(replayed.log_end, HasSubstr("after record"));
}

TEST_F(RecordReplay, ADamagedRecordEndsTheReplayBeforeIt) {
    static_cast<void>(record(test_program("nondeterminism"), {}, 1u << 22, GuestTime{0}));
    {
        std::fstream file(log(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>(fs::file_size(log())) - 60);
        file.put('\x55').put('\xaa');
    }
    const ReplayResult replayed = replay_log({log()});
    EXPECT_EQ(replayed.divergence, "");
    EXPECT_THAT(replayed.log_end, HasSubstr("byte"));
}

TEST_F(RecordReplay, WhatIsNoLogIsRefused) {
    std::ofstream(log()) << "this is not a log";
    EXPECT_THROW(static_cast<void>(replay_log({log()})), Error);
    EXPECT_THROW(static_cast<void>(replay_log({folder_.path() / "missing"})), Error);
}

static_assert(offsetof(abi::Control, transmit) == 96, "programs/crash.c overwrites it");

struct Crash {
    const char* how;
    const char* reason;
    const char* symbol;
};
class Crashes : public RecordReplay, public testing::WithParamInterface<Crash> {};

// A guest that breaks ends its run with a report, and a replay breaks at the same place.
TEST_P(Crashes, EndTheRunWithAReport) {
    const LoneGuestResult recorded = record(test_program("crash"), {GetParam().how}, 1u << 22, GuestTime{0});
    ASSERT_EQ(recorded.loop.ending, Ending::fault);
    EXPECT_THAT(recorded.fault_report, HasSubstr(GetParam().reason));
    EXPECT_THAT(recorded.fault_report, HasSubstr(GetParam().symbol));
    EXPECT_THAT(recorded.fault_report, HasSubstr("rip"));
    const ReplayResult replayed = replay_log({log()});
    EXPECT_EQ(replayed.divergence, "");
    EXPECT_EQ(replayed.loop.ending, Ending::fault);
}
INSTANTIATE_TEST_SUITE_P(
    Kinds, Crashes,
    testing::Values(Crash{"null", "page fault (vector 14, error code 0x6, address 0x8)", "write_to_null"},
                    Crash{"opcode", "invalid opcode", "invalid_opcode"}, Crash{"stack", "fault", "overflow_the_stack"},
                    Crash{"port", "OUT to port 0xf7", "touch_a_port"},
                    Crash{"halt", "general protection fault", "halt"},
                    Crash{"rings", "it overwrote its output rings", "rip"}),
    [](const auto& tested) { return tested.param.how; });

}  // namespace
}  // namespace understudy::replication
