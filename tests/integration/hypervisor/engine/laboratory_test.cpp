// A host of another kind (tests/laboratory: an emulated AMD processor, Debian's kernel, its kvm_amd): what one recorded
// the other replays, with the same registers at each stop and the same memory.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "tests/integration/tools/linux_root.hpp"
#include "tests/integration/tools/on_kvm.hpp"

namespace understudy::tools {
namespace {

using ::testing::HasSubstr;
using testing::kExecutable;
using testing::LinuxRoot;

const std::string kLaboratory = UNDERSTUDY_SOURCE_DIR "/tests/laboratory/laboratory";
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
// Whatever a machine that is emulated, on a host with other work, may take for seconds of ours.
constexpr std::chrono::minutes kLimit(kSanitized ? 30 : 5);

// An emulated processor takes minutes for a digest of all memory, if a sanitizer looks at each byte.
std::string digested_every(unsigned milliseconds) {
    return fmt::format("--digest-interval {}", kSanitized ? 0 : milliseconds);
}

class Laboratory : public testing::OnKvm {
  protected:
    void SetUp() override {
        OnKvm::SetUp();
        if (IsSkipped()) {
            return;
        }
        if (const std::string missing = LinuxRoot::missing(); !missing.empty()) {
            GTEST_SKIP() << missing;
        }
        if (const Finished kernel = shell("$LAB --fetch", kLimit); kernel.exit_status != 0) {
            GTEST_SKIP() << kernel.errors;
        }
        root_ = std::make_unique<LinuxRoot>();
    }

    // A line for the shell, in the directory of root.img; U is the command, LAB the laboratory.
    Finished shell(const std::string& line, std::chrono::milliseconds limit = std::chrono::minutes(2)) const {
        return run_to_end({.command = {"sh", "-c", line},
                           .directory = root_ ? root_->directory() : std::filesystem::path("/"),
                           .environment = {"U=" + kExecutable.string(), "LAB=" + kLaboratory,
                                           "UNDERSTUDY_BUILD=" UNDERSTUDY_BINARY_DIR}},
                          limit);
    }
    Finished in_laboratory(const std::string& line) const {
        const auto limit = std::chrono::seconds(kLimit - std::chrono::seconds(20));
        return shell(fmt::format("$LAB --add root.img --timeout {} {}", limit.count(), line), kLimit);
    }

    std::unique_ptr<LinuxRoot> root_;
};

// Processes, pipes, a computation, waiting; memory is digested at every second stop.
constexpr const char* kWork =
    "sh -c 'i=0; while [ $i -lt 300 ]; do i=$((i+1)); done; cat /proc/version | cat; sleep 0.1; echo done; exit 3'";

TEST_F(Laboratory, ReplaysWhatThisHostRecorded) {
    const Finished recorded =
        shell(fmt::format("$U run --image root.img --memory 96M --record log {} -- {}", digested_every(20), kWork));
    ASSERT_EQ(recorded.exit_status, 3) << recorded.errors;
    const Finished replayed = in_laboratory("--add log -- understudy replay log");
    EXPECT_EQ(replayed.exit_status, 0) << replayed.output << replayed.errors;
    EXPECT_THAT(replayed.output, HasSubstr("all equal"));
}

// Of a program that counts nothing: what it did is taken over, and the guest goes on from there.
TEST_F(Laboratory, ReplaysIntervalsThatAreCopies) {
    const Finished recorded =
        shell(fmt::format("$U run --image root.img --memory 96M --record log {} -- "
                          "sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit 3'",
                          digested_every(20)));
    ASSERT_EQ(recorded.exit_status, 3) << recorded.errors;
    ASSERT_THAT(shell("$U log --summary log").output, HasSubstr("interrupt"));
    const Finished replayed = in_laboratory("--add log -- understudy replay log");
    EXPECT_EQ(replayed.exit_status, 0) << replayed.output << replayed.errors;
    EXPECT_THAT(replayed.output, HasSubstr("all equal"));
}

TEST_F(Laboratory, BootsWithTheSameMemoryAtEveryStop) {
    if (kSanitized) {
        GTEST_SKIP() << "digests at every stop take too long in a build for a sanitizer";
    }
    const Finished recorded = shell("$U run --image root.img --memory 72M --record log --digest-interval 1 -- true");
    ASSERT_EQ(recorded.exit_status, 0) << recorded.errors;
    const Finished replayed = in_laboratory("--add log -- understudy replay log");
    EXPECT_EQ(replayed.exit_status, 0) << replayed.output << replayed.errors;
    EXPECT_THAT(replayed.output, HasSubstr("all equal"));
}

// Code that is written over while it is executed, clocks, timers, processes, sockets, threads. Left out is what shows
// flags that an instruction left undefined, and what QEMU computes otherwise than processors: x87's rounding,
// exceptions of SSE.
TEST_F(Laboratory, ReplaysTorture) {
    const Finished recorded = shell(
        "$U image --from-tar root.tar --add $UNDERSTUDY_BUILD/guest/linux/torture:/bin/torture -o torture.img > "
        "image.log && "
        "$U run --image torture.img --memory 96M --record log " +
        digested_every(50) +
        " -- torture --seed 3 --operations 24 "
        "--only patched,clocks,processor,pipes,copy-on-write,posix-timer,tcp,contention");
    ASSERT_EQ(recorded.exit_status, 0) << recorded.output << recorded.errors;
    const Finished replayed = in_laboratory("--add log --add torture.img -- understudy replay log");
    EXPECT_EQ(replayed.exit_status, 0) << replayed.output << replayed.errors;
    EXPECT_THAT(replayed.output, HasSubstr("all equal"));
}

// Its counter, its timers, its kicks; what CPUID says of it reaches no guest.
TEST_F(Laboratory, RecordsWhatItAndThisHostReplay) {
    std::ofstream(root_->directory() / "inside.sh")
        << "understudy run --image root.img --memory 96M --record log " << digested_every(1000) << " -- " << kWork
        << "\necho status $?\nunderstudy replay --quiet log\n";
    const Finished recorded = in_laboratory("--add inside.sh --get log -- sh inside.sh 2>&1");
    EXPECT_THAT(recorded.output, HasSubstr("status 3"));
    EXPECT_THAT(recorded.output, HasSubstr("all equal")) << recorded.errors;
    const Finished replayed = shell("$U replay log");
    EXPECT_EQ(replayed.exit_status, 0) << replayed.errors;
    EXPECT_THAT(replayed.errors, HasSubstr("all equal"));
}

TEST_F(Laboratory, EndsWithTheStatusOfItsCommand) {
    EXPECT_EQ(in_laboratory("-- sh -c 'exit 7'").exit_status, 7);
    const Finished none = in_laboratory("--get nothing -- true");
    EXPECT_EQ(none.exit_status, 125);
    EXPECT_THAT(none.errors, HasSubstr("left no such file"));
}

}  // namespace
}  // namespace understudy::tools
