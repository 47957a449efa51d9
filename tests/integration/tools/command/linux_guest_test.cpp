// Linux guests as their users meet them on the command line: what they say and end with, what is typed into them, and
// what each thing that cannot be is answered with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <regex>
#include <string>

#include "common/sandbox/sandbox.hpp"
#include "tests/integration/tools/linux_root.hpp"
#include "tests/integration/tools/on_kvm.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::kExecutable;
using testing::LinuxRoot;
using ::testing::Not;
using ::testing::StartsWith;

class LinuxGuest : public testing::OnKvm {
  protected:
    static void TearDownTestSuite() { root().reset(); }
    static std::unique_ptr<LinuxRoot>& root() {
        static std::unique_ptr<LinuxRoot> one;
        return one;
    }
    void SetUp() override {
        OnKvm::SetUp();
        if (IsSkipped()) {
            return;
        }
        if (const std::string missing = LinuxRoot::missing(); !missing.empty()) {
            GTEST_SKIP() << missing;
        }
        if (!root()) {
            root() = std::make_unique<LinuxRoot>();
        }
    }

    // A line for the shell, in the directory of root.img; U is the command.
    static Finished shell(const std::string& line) {
        return run_to_end({.command = {"sh", "-c", line},
                           .directory = root()->directory(),
                           .environment = {"U=" + kExecutable.string()}});
    }
};

TEST_F(LinuxGuest, EndsWithTheStatusOfItsCommand) {
    const Finished done = shell("$U run --image root.img --env A=b -- sh -c 'echo says $A; exit 7'");
    EXPECT_EQ(done.exit_status, 7) << done.errors;
    EXPECT_EQ(done.output, "says b\r\n");
    EXPECT_EQ(shell("$U run --image root.img -- sh -c 'kill -9 $$'").exit_status, 128 + 9);
}

// The terminal outlives the command: nobody is hung up on.
TEST_F(LinuxGuest, WhatItsCommandLeftBehindEndsInOrder) {
    const Finished done = shell(
        "$U run --image root.img -- sh -c '(trap \"sleep 0.3; echo saved; exit\" TERM; echo ready > ready; while :; do "
        "sleep 0.05; done) & until [ -e ready ]; do sleep 0.05; done; exit 7'");
    EXPECT_THAT(done.output, EndsWith("saved\r\n"));
    EXPECT_EQ(done.exit_status, 7) << done.errors;
}

TEST_F(LinuxGuest, TakesItsCommandFromTheKernelsCommandLine) {
    const Finished command = shell("$U run --image root.img --cmdline 'A=b splash -- sh -c \"echo says $A; exit 7\"'");
    EXPECT_EQ(command.output, "says b\r\n");
    EXPECT_EQ(command.exit_status, 7) << command.errors;
    const Finished init = shell("$U run --image root.img --cmdline single");
    EXPECT_EQ(init.output, "init single\r\n");
    EXPECT_EQ(init.exit_status, 0) << init.errors;
    EXPECT_EQ(shell("$U run --image root.img --cmdline 'init=/sbin/other'").exit_status, 127);
}

TEST_F(LinuxGuest, HasTheFoldersThatServersExpect) {
    const Finished done = shell(
        "$U run --image root.img -- sh -c 'for d in /proc /sys/fs/cgroup /dev/pts /dev/shm /run/lock; do "
        "[ -d $d ] || echo no $d; done; [ -k /dev/shm ] && [ -k /run/lock ]'");
    EXPECT_EQ(done.exit_status, 0) << done.errors;
    EXPECT_EQ(done.output, "");
}

TEST_F(LinuxGuest, IsDescribedByADomain) {
    std::ofstream(root()->directory() / "d.xml")
        << "<domain type='kvm'><name>small</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>"
           "<os><type arch='x86_64'>hvm</type><cmdline>-- sh -c \"cat /etc/hostname; exit 5\"</cmdline></os>"
           "<devices><disk type='file' device='cdrom'><source file='"
        << root()->image().string() << "'/><target dev='sda'/></disk></devices></domain>";
    const Finished done = shell("$U run --domain d.xml");
    EXPECT_EQ(done.output, "small\r\n");
    EXPECT_EQ(done.exit_status, 5) << done.errors;
}

TEST_F(LinuxGuest, PowersOffWithSuccessAndAsksForARebootWithAStatusOfItsOwn) {
    EXPECT_EQ(shell("$U run --image root.img -- poweroff -f").exit_status, 0);
    const Finished reboot = shell("$U run --image root.img -- reboot -f");
    EXPECT_EQ(reboot.exit_status, 133);
    EXPECT_EQ(reboot.errors, "understudy: the guest asked for a reboot\n");
}

// As often as a few seconds allow. Its clock goes on, its uptime begins anew.
TEST_F(LinuxGuest, IsRestartedWhereThatIsWhatARebootMeans) {
    const Finished done = shell(
        "$U run --image root.img --memory 96M --on-reboot restart --record log --digest-interval 1 --env T=$(date +%s) "
        "-- sh -c 'echo boots; read up rest < /proc/uptime; [ ${up%.*} -lt 60 ] || exit 8; "
        "[ $(date +%s) -lt $((T+4)) ] || exit 7; sleep 1; reboot -f'");
    EXPECT_EQ(done.exit_status, 7) << done.errors;
    EXPECT_THAT(done.output, StartsWith("boots\r\nboots\r\n"));
    const Finished replayed = shell("$U replay log");
    EXPECT_EQ(replayed.exit_status, 0) << replayed.errors;
    EXPECT_EQ(replayed.output, done.output);
    EXPECT_THAT(replayed.errors, HasSubstr("all equal"));
    EXPECT_THAT(shell("$U log --summary log").output, HasSubstr("restart"));
    // Every record but the first takes the guest's time from the one before.
    EXPECT_EQ(shell("$U log --json log | jq -s '[.[] | select(has(\"stop\"))] | length' > records\n"
                    "$U log --summary --timeline trace.json log > summary\n"
                    "jq '[.traceEvents[] | select(.ph == \"X\")] | length' trace.json | cmp - records && echo the same")
                  .output,
              "the same\n");
}

TEST_F(LinuxGuest, IsRestartedWhereThatIsWhatACrashMeans) {
    const Finished done = shell(
        "$U run --image root.img --memory 96M --on-crash restart --env T=$(date +%s) "
        "-- sh -c '[ $(date +%s) -lt $((T+3)) ] || exit 7; sleep 1; echo c > /proc/sysrq-trigger'");
    EXPECT_EQ(done.exit_status, 7) << done.errors;
    EXPECT_THAT(done.output, HasSubstr("Kernel panic"));
    EXPECT_THAT(shell("$U run --image root.img --on-crash preserve").errors, HasSubstr("--on-crash"));
}

TEST_F(LinuxGuest, IsTypedIntoAndReplaysWhatWasTyped) {
    const Finished typed = shell(
        "printf 'echo $((6*7))\\nexit 3\\n' | $U run --image root.img --memory 96M --console - --record log "
        "--digest-interval 20 "
        "-- sh");
    EXPECT_EQ(typed.exit_status, 3) << typed.errors;
    EXPECT_THAT(typed.output, AllOf(HasSubstr("\r\n42\r\n"), Not(HasSubstr("job control turned off"))));
    const Finished replayed = shell("$U replay log");
    EXPECT_EQ(replayed.exit_status, 0) << replayed.errors;
    EXPECT_EQ(replayed.output, typed.output);
    EXPECT_THAT(replayed.errors, HasSubstr("all equal"));
    EXPECT_THAT(shell("$U log --summary log").output, HasSubstr(" 22 bytes typed")) << "Ctrl-D included";
}

TEST_F(LinuxGuest, SeesTheEndOfWhatIsTyped) {
    const Finished done = shell("printf 'one\\ntwo\\n' | $U run --image root.img --console - -- cat");
    EXPECT_EQ(done.exit_status, 0) << done.errors;
    EXPECT_THAT(done.output, EndsWith("two\r\n"));
    EXPECT_EQ(shell("$U run --image root.img --console - -- cat < /dev/null").exit_status, 0);
    EXPECT_EQ(shell("printf 'x\\n' > typed; $U run --image root.img --console - -- cat < typed").exit_status, 0);
}

TEST_F(LinuxGuest, AsksTheGatewayForNames) {
    const Finished done = shell(
        "$U gateway --listen unix:gw.sock > gateway.log 2>&1 & trap \"kill $!\" EXIT; "
        "while [ ! -S gw.sock ]; do sleep 0.1; done; "
        "$U run --image root.img --network gateway:unix:gw.sock -- cat /etc/resolv.conf; "
        "$U run --image root.img --network gateway:unix:gw.sock --nameserver 192.0.2.1 -- cat /etc/resolv.conf");
    EXPECT_EQ(done.output, "nameserver 10.0.2.3\r\nnameserver 192.0.2.1\r\n") << done.errors;
}

TEST_F(LinuxGuest, TakesMoreThanItsConsoleHoldsAtOnce) {
    const Finished done = shell(
        "for i in $(seq 20000); do echo $i; done > typed; cat typed | $U run --image root.img --console - -- "
        "sh -c 'stty -echo; while read line && [ $line != 20000 ]; do last=$line; done; echo last $last'");
    EXPECT_THAT(done.output, EndsWith("last 19999\r\n")) << done.errors;
}

// A guest that stops at each of its writes hears its timer there.
TEST_F(LinuxGuest, KeepsTimeWhileItWritesWithoutAnEnd) {
    const Finished done = shell(
        "timeout 20 $U run --image root.img -- sh -c '(while :; do echo x > /dev/console; done) & sleep 0.2; exit 3' "
        "> written");
    EXPECT_EQ(done.exit_status, 3) << done.errors;
}

// Whoever says something and then gives way to a program that computes is heard before it computes on: a stop each
// time.
TEST_F(LinuxGuest, IsHeardBesideAProgramThatComputes) {
    constexpr int kMostPings = 30;  // of 40: what another stop comes before needs none
    const Finished done = shell(
        "$U gateway --listen unix:gw.sock > gateway.log 2>&1 & trap \"kill $!\" EXIT; "
        "while [ ! -S gw.sock ]; do sleep 0.1; done; "
        "$U run --image root.img --network gateway:unix:gw.sock --json -- "
        "sh -c '(while :; do :; done) & sleep 0.5; busybox ping -q -c 40 -i 0.02 10.0.2.2'");
    EXPECT_EQ(done.exit_status, 0) << done.output << done.errors;
    std::smatch flushes;
    ASSERT_TRUE(std::regex_search(done.output, flushes, std::regex("\"flush\":([0-9]+)"))) << done.output;
    EXPECT_GE(std::stoi(flushes[1]), kMostPings);
}

TEST_F(LinuxGuest, ThatPanicsEndsWithAReportOfItsLastLines) {
    const Finished panic = shell("$U run --image root.img --record log -- sh -c 'echo c > /proc/sysrq-trigger'");
    EXPECT_EQ(panic.exit_status, 1);
    EXPECT_THAT(panic.errors, AllOf(StartsWith("guest fault: its kernel panicked\n"),
                                    HasSubstr("Kernel panic - not syncing: sysrq triggered crash")));
    const Finished replayed = shell("$U replay log");
    EXPECT_EQ(replayed.exit_status, 0) << replayed.errors;
    EXPECT_THAT(replayed.errors, HasSubstr("its kernel panicked"));
}

TEST_F(LinuxGuest, SaysWhyItsCommandCannotBeRun) {
    const Finished foreign = shell("$U run --image root.img -- foreign");
    EXPECT_EQ(foreign.exit_status, 126);
    EXPECT_THAT(foreign.output,
                AllOf(HasSubstr("of another architecture? guests are x86-64"), HasSubstr("Exec format error")));
    const Finished absent = shell("$U run --image root.img -- absent");
    EXPECT_EQ(absent.exit_status, 127);
    EXPECT_THAT(absent.output, HasSubstr("cannot run absent"));
}

TEST_F(LinuxGuest, IsNotStartedFromAnImageThatWasCutShort) {
    const auto size = fs::file_size(root()->image());
    const Finished cut = shell("head -c " + std::to_string(size / 2 / 4096 * 4096) +
                               " root.img > cut.img; $U run --image cut.img -- true");
    EXPECT_EQ(cut.exit_status, 1);
    EXPECT_THAT(cut.errors, AllOf(HasSubstr("cut.img was cut short"), HasSubstr(std::to_string(size))));
    const Finished none = shell("$U run --image root.tar -- true");
    EXPECT_EQ(none.exit_status, 1);
    EXPECT_THAT(none.errors, HasSubstr("root.tar is no image"));
    EXPECT_THAT(shell("$U run --image nowhere.img").errors, HasSubstr("cannot read the image nowhere.img: No such"));
}

TEST_F(LinuxGuest, IsNotStartedOnAKernelWithoutTheOverlay) {
    const std::string other = UNDERSTUDY_BINARY_DIR "/guest/linux/init";
    EXPECT_THAT(shell("$U run --image root.img --kernel " + other + " -- true").errors,
                HasSubstr("init is no kernel for an Understudy guest: it was built without guest/linux"));
    const Finished file = shell("$U run --image root.img --kernel root.tar -- true");
    EXPECT_EQ(file.exit_status, 1);
    EXPECT_THAT(file.errors, HasSubstr("root.tar is no kernel for an Understudy guest, which is a vmlinux"));
}

TEST_F(LinuxGuest, SaysHowMuchMemoryItTakesAndThatSuffices) {
    const Finished small = shell("$U run --image root.img --memory 8M -- true");
    EXPECT_EQ(small.exit_status, 1);
    std::smatch found;
    ASSERT_TRUE(std::regex_search(small.errors, found, std::regex("give it --memory ([0-9]+M) or more")))
        << small.errors;
    const Finished enough = shell("$U run --image root.img --memory " + found[1].str() + " -- echo runs");
    EXPECT_EQ(enough.output, "runs\r\n") << enough.errors;
    EXPECT_EQ(enough.exit_status, 0);
}

// After a while without such programs nobody keeps track of what the guest writes: the first interval that has to be
// copied is copied with all of memory, the next ones with what was written.
TEST_F(LinuxGuest, IsCopiedWholeWhereAProgramBeginsToComputeLate) {
    const Finished recorded = shell(
        "$U run --image root.img --memory 96M --record log -- sh -c 'sleep 6; i=0; while [ $i -lt 400000 ]; do "
        "i=$((i+1)); done; echo $i'");
    EXPECT_EQ(recorded.output, "400000\r\n") << recorded.errors;
    const Finished replayed = shell("$U replay log");
    EXPECT_EQ(replayed.exit_status, 0) << replayed.errors;
    EXPECT_THAT(replayed.errors + replayed.output, HasSubstr("all equal"));
    const Finished copied = shell("$U log --summary log | sed -n 's/^copied *\\([0-9]*\\) pages.*/\\1/p'");
    constexpr int kKernel = 20 * 256;  // at least: what a guest has touched when it has booted
    EXPECT_GT(std::stoi("0" + copied.output), kKernel);
}

// Whoever made a log may aim at who replays it.
TEST_F(LinuxGuest, IsReplayedBehindWalls) {
    if (!sandbox::available()) {
        GTEST_SKIP() << "no sandbox in a build for a sanitizer";
    }
    const Finished walls = shell(
        "$U run --image root.img --memory 96M --record log -- sh -c 'i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done'"
        "\n$U replay --quiet --memory memory log & replay=$!\n"
        "until grep -q '^Seccomp:.*2' /proc/$replay/status; do kill -0 $replay || break; done\n"
        "kill -STOP $replay && sed -n 's/^Seccomp:\t//p; s/^NoNewPrivs:\t/privileges /p' /proc/$replay/status\n"
        "kill -CONT $replay; wait $replay && wc -c < memory");
    EXPECT_THAT(walls.output, AllOf(HasSubstr("2\n"), HasSubstr("privileges 1\n"))) << walls.errors;
    EXPECT_EQ(walls.exit_status, 0) << walls.errors;
    EXPECT_THAT(walls.errors, HasSubstr("all equal"));
}

TEST_F(LinuxGuest, IsReplayedFromAPipe) {
    const Finished replayed =
        shell("$U run --image root.img --memory 96M --record log -- true\ncat log | $U replay --quiet /dev/stdin");
    EXPECT_EQ(replayed.exit_status, 0) << replayed.errors;
    EXPECT_THAT(replayed.errors, HasSubstr("all equal"));
}

// What it says comes out when it was kept, and its end with it.
TEST_F(LinuxGuest, IsCheckpointedBesideIt) {
    const Finished done = shell(
        "$U checkpoints --listen unix:keeper --json > kept & until [ -S keeper ]; do sleep 0.05; done\n"
        "$U run --image root.img --memory 96M --checkpoint-to unix:keeper --checkpoint-interval 10 --json -- sh -c "
        "'echo one; sleep 0.3; echo two; exit 3'; status=$?; wait; tail -n 1 kept; exit $status");
    EXPECT_EQ(done.exit_status, 3) << done.errors;
    EXPECT_THAT(done.output, AllOf(HasSubstr("one\r\ntwo\r\n"), HasSubstr("\"exit_status\":3"),
                                   HasSubstr("\"checkpoints\":{\"count\":"), HasSubstr("\"bytes_received\":")));
}

// Who keeps checkpoints at unix:keeper, and listens.
const std::string kKeeper = "$U checkpoints --listen unix:keeper & until [ -S keeper ]; do sleep 0.05; done\n";

TEST_F(LinuxGuest, EndsWhereNobodyKeepsItsCheckpoints) {
    const Finished none = shell("$U run --image root.img --checkpoint-to unix:nobody -- true");
    EXPECT_EQ(none.exit_status, 1);
    EXPECT_THAT(none.errors, HasSubstr("start `understudy checkpoints --listen unix:nobody` first"));
    EXPECT_THAT(shell("$U run --image root.img --checkpoint-to 192.0.2.1:7 -- true").errors, HasSubstr("plain text"));
    EXPECT_THAT(shell("$U checkpoints --listen 0.0.0.0:0").errors, HasSubstr("plain text"));
    const Finished lost =
        shell(kKeeper +
              "(until grep -q ready seen 2> /dev/null; do sleep 0.05; done; kill -9 $!) &\n"
              "$U run --image root.img --checkpoint-to unix:keeper -- sh -c 'echo ready; sleep 1000' > seen");
    EXPECT_EQ(lost.exit_status, 1);
    EXPECT_THAT(lost.errors, HasSubstr("checkpoints"));
}

// The first who connects is its host: nobody else waits for an answer that never comes.
TEST_F(LinuxGuest, IsNotCheckpointedWhereAnotherOneIs) {
    const Finished second =
        shell(kKeeper +
              "$U run --image root.img --checkpoint-to unix:keeper -- sh -c 'echo ready; sleep 1000' > seen &\n"
              "until grep -q ready seen 2> /dev/null; do sleep 0.05; done\n"
              "timeout 60 $U run --image root.img --checkpoint-to unix:keeper -- true; status=$?; kill $!; wait; exit "
              "$status");
    EXPECT_EQ(second.exit_status, 1);
    EXPECT_THAT(second.errors, HasSubstr("nobody keeps checkpoints at unix:keeper"));
}

// Whoever reaches the keeper may announce any memory: 2^64 - 4096 bytes, and 64 TiB.
TEST_F(LinuxGuest, ACheckpointOfMoreMemoryThanThereIsIsRefused) {
    for (const char* size : {R"(\000\360\377\377\377\377\377\377)", R"(\000\000\000\000\000\100\000\000)"}) {
        const Finished keeper = shell(
            "rm -f seen; $U checkpoints --listen 127.0.0.1:0 --json > seen & \n"
            "until grep -q listening seen 2> /dev/null; do sleep 0.05; done\n"
            "bash -c \"printf '" +
            std::string(size) +
            "' > /dev/tcp/127.0.0.1/$(sed 's/.*127.0.0.1:\\([0-9]*\\).*/\\1/' seen)\"\n"
            "wait $!");
        EXPECT_EQ(keeper.exit_status, 1) << size;
        EXPECT_THAT(keeper.errors, HasSubstr("choose a smaller --memory")) << size;
    }
}

// A terminal as `script` makes one: the keys come through, and Ctrl-] ends.
TEST_F(LinuxGuest, HasTheTerminalWhereThereIsOne) {
    if (shell("command -v script").exit_status != 0) {
        GTEST_SKIP() << "no script: apt-get install bsdutils";
    }
    const Finished ended = shell(
        "(until grep -q ready seen 2>/dev/null; do sleep 0.05; done; printf '\\003'; "
        "until grep -q caught seen; do sleep 0.05; done; printf '\\035'; until [ -e done ]; do sleep 0.05; done) | "
        "(script -qefc \"$U run --image root.img -- sh -c 'trap \\\"echo caught\\\" INT; echo ready; while :; do sleep "
        "1; done'\" seen > /dev/null; echo status $?; touch done)");
    EXPECT_THAT(ended.output, HasSubstr("status 130"));
}

}  // namespace
}  // namespace understudy::tools
