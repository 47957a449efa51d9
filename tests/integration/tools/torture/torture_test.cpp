// Linux guests under torture: what made replays diverge once, by the operation that found it, and a few rounds of
// everything. `understudy torture --duration` goes on from here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "common/temporary_directory.hpp"
#include "tests/integration/tools/on_kvm.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

using ::testing::HasSubstr;
using testing::kExecutable;
using ::testing::Not;

class Torture : public testing::OnKvm {
  protected:
    void SetUp() override {
        OnKvm::SetUp();
        if (!IsSkipped() && !std::filesystem::exists(UNDERSTUDY_BINARY_DIR "/guest/linux/vmlinux")) {
            GTEST_SKIP() << "no kernel for Linux guests: build the target guest-linux";
        }
    }
    static Finished torture(std::vector<std::string> options) {
        options.insert(options.begin(), {kExecutable.string(), "torture"});
        return run_to_end(ProcessConfig{.command = options}, std::chrono::minutes(10));
    }
    static void expect_equal(const std::vector<std::string>& options) {
        const Finished done = torture(options);
        EXPECT_EQ(done.exit_status, 0) << done.output << done.errors;
        EXPECT_THAT(done.output, HasSubstr("every replay equal"));
    }
};

TEST_F(Torture, ReplaysAFewRoundsOfEverything) {
    expect_equal({"--seed", "20", "--rounds", "2", "--operations", "40"});
}

TEST_F(Torture, ReplaysWhatNoProgramShouldDo) {
    expect_equal({"--seed", "30", "--rounds", "1", "--hostile", "--only", "odd,any-bytes,debug-registers"});
    expect_equal({"--seed", "1", "--rounds", "1", "--hostile", "--only", "jump-up,end-of-page,nested-task"});
}

// A translation of the place where a page was would have a program write into memory that is somebody else's by now.
TEST_F(Torture, PagesThatTheKernelMovesKeepWhatIsWritten) {
    expect_equal({"--seed", "1", "--rounds", "1", "--operations", "12", "--only", "moved-pages"});
}

// What lies around code may come from a program that does not answer, which holds up nobody else.
TEST_F(Torture, ProgramsStartWhileAFileSystemDoesNotAnswer) {
    expect_equal({"--seed", "1", "--rounds", "1", "--operations", "6", "--only", "late-answer"});
}

// Flags behind a counted branch, in the frames of exceptions that the kernel boots through; x87's last instruction.
TEST_F(Torture, ABootLeavesNoFlagsBehind) {
    expect_equal({"--seed", "513", "--rounds", "3", "--operations", "2", "--only", "environment"});
}

// Raw values of the counter, while a debugger steps through the vDSO.
TEST_F(Torture, AStepThroughTheClockShowsNoCounter) {
    expect_equal({"--seed", "2", "--rounds", "1", "--operations", "8", "--only", "stepped"});
}

TEST_F(Torture, AStepIsOneInstructionAlsoOfThoseExecutedInAProgramsStead) {
    expect_equal({"--seed", "5", "--rounds", "1", "--operations", "6", "--only", "stepped-where-asking"});
}

// System calls that are no SYSCALL, to whoever looks closely.
TEST_F(Torture, RewrittenSystemCallsAreLikeAnyOther) {
    expect_equal({"--seed", "3", "--rounds", "1", "--operations", "24", "--only",
                  "calls-interrupted,calls-stopped,calls-kept,calls-stepped,calls-self-stepped,calls-without-page"});
}

// The vDSO calls for a stop, which pushes a word: where that faults, only those would see it who stop there.
TEST_F(Torture, AStopInTheClockTakesNoStack) {
    expect_equal({"--seed", "2", "--rounds", "2", "--operations", "8", "--only", "clock-at-stacks-end"});
}

// Programs that wait without their kernel: each look at the clock counts.
TEST_F(Torture, WhoPollsAClockIsInterrupted) {
    expect_equal({"--seed", "4", "--rounds", "1", "--operations", "16", "--only", "polled,stepped"});
}

// A page that may be written and executed at once, written again.
TEST_F(Torture, CodeMadeAtRunTimeRuns) {
    expect_equal({"--seed", "1", "--rounds", "1", "--only",
                  "data-beside-code,patched,write-and-execute,write-then-execute,two-mappings"});
}

// By who translates programs, and executes nothing of them.
TEST_F(Torture, CodeThatIsOnlyReadIsWhatItsFileSays) {
    expect_equal({"--seed", "1", "--rounds", "1", "--operations", "60", "--only", "code-as-data"});
}

// Programs that count nothing are interrupted anywhere, and what they wrote is copied: within string instructions, with
// values in SSE and x87 registers, while what is mapped changes; some of them end only because of it.
TEST_F(Torture, WhatCannotBeRunAgainIsCopied) {
    constexpr const char* kUncounted =
        "spin,copy-by-string-instructions,hold-in-registers,write-all-over,"
        "spin-until-another-comes,spin-until-alarms,spin-while-another-maps";
    const Finished done = torture({"--seed", "1", "--rounds", "3", "--operations", "12", "--only", kUncounted});
    EXPECT_EQ(done.exit_status, 0) << done.output << done.errors;
    EXPECT_THAT(done.output, HasSubstr("every replay equal"));
    EXPECT_THAT(done.output, Not(HasSubstr(" 0 interrupts, every replay equal")));
}

// In a recording, and maybe in a replay: whenever the signal comes, nothing is left.
TEST_F(Torture, EndsWhenItsUserWantsAnEndAndLeavesNothing) {
    const TemporaryDirectory folder;
    for (const std::string signal : {"INT", "TERM", "HUP"}) {
        const Finished done = run_to_end({.command = {"sh", "-c",
                                                      kExecutable.string() +
                                                          " torture --duration 1000 & until [ -s understudy*/log ]; do "
                                                          "kill -0 $! || exit; sleep 0.05; done; kill -" +
                                                          signal + " $!; wait $!; echo status $?; ls"},
                                          .directory = folder.path(),
                                          .environment = {"TMPDIR=" + folder.path().string()}});
        EXPECT_EQ(done.output, "status 130\n") << signal << done.errors;
        EXPECT_EQ(done.errors, "understudy: interrupted\n");
    }
}

TEST_F(Torture, AGuestThatFailsIsReportedAndItsLogKept) {
    const TemporaryDirectory folder;
    const Finished done =
        torture({"--operations", "1", "--only", "no-such-operation", "--keep", folder.path().string()});
    EXPECT_NE(done.exit_status, 0);
    EXPECT_THAT(done.errors, HasSubstr("there is no operation no-such-operation"));
    EXPECT_THAT(done.errors, HasSubstr("1 of 1 rounds failed"));
    EXPECT_EQ(
        run_to_end({kExecutable.string(), "replay", "--quiet", (folder.path() / "seed-1.log").string()}).exit_status,
        0);
}

}  // namespace
}  // namespace understudy::tools
