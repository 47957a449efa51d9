// Pairs of Linux guests: hosts with different images, and a console that outlives its host.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/tools/linux_root.hpp"
#include "tests/integration/tools/on_kvm.hpp"
#include "tools/demo/relay.hpp"
#include "tools/demo/replica.hpp"
#include "tools/demo/services.hpp"
#include "tools/demo/stage.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;
using replication::Role;
using ::testing::HasSubstr;
using testing::kExecutable;
using testing::kPatience;
using testing::kSuspicion;
using testing::LinuxRoot;

class LinuxPair : public testing::OnKvm {
  protected:
    void SetUp() override {
        OnKvm::SetUp();
        if (IsSkipped()) {
            return;
        }
        if (const std::string missing = LinuxRoot::missing(); !missing.empty()) {
            GTEST_SKIP() << missing;
        }
        root_ = std::make_unique<LinuxRoot>();
        arbiters_ = start_arbiters(stage_, kExecutable);
    }

    // Each host has its console's socket under its own name.
    Replica& start(const std::string& host, std::vector<std::string> command, const std::string& image,
                   std::string ready = {}) {
        const std::vector<std::string> rest = {
            "--name",    "guest",       "--image",     image,      "--listen",         "127.0.0.1:0",  "--json",
            "--arbiter", arbiters_.url, "--suspicion", kSuspicion, "--console-socket", socket_of(host)};
        command.insert(command.begin(), kExecutable);
        command.insert(command.begin() + 2, arbiters_.credentials.begin(), arbiters_.credentials.end());
        command.insert(command.begin() + 2, rest.begin(), rest.end());
        return *replicas_.emplace_back(std::make_unique<Replica>(stage_, host, std::move(command), std::move(ready)));
    }
    Replica& start_primary(std::vector<std::string> command = {"primary", "--", "sh"}, std::string ready = {}) {
        Replica& primary = start("host-1", std::move(command), root_->image(), std::move(ready));
        stage_.until([&] { return primary.role() == Role::solo && !primary.address().empty(); }, kPatience,
                     "a primary");
        return primary;
    }
    [[nodiscard]] std::string socket_of(const std::string& host) const {
        return root_->directory() / (host + ".console");
    }

    std::unique_ptr<LinuxRoot> root_;
    Stage stage_;
    Arbiters arbiters_;
    std::vector<std::unique_ptr<Replica>> replicas_;
};

TEST_F(LinuxPair, ABackupWithAnotherImageIsRefusedAndThePrimaryGoesOn) {
    const Replica& primary = start_primary();
    const std::string other = root_->directory() / "other.img";
    fs::copy(root_->image(), other);
    fs::resize_file(other, fs::file_size(other) + 4096);
    for (const std::string& image : {other, std::string("nowhere.img")}) {
        const Replica& backup = start("host-2", {"backup", "--primary", primary.address()}, image);
        stage_.until([&] { return !backup.running(); }, kPatience, "a refusal");
        EXPECT_THAT(backup.end(), HasSubstr("ended with status 1: understudy: "));
        EXPECT_THAT(backup.end(), HasSubstr(image == other ? "other.img is not the guest's image" : "nowhere.img"));
        EXPECT_TRUE(primary.running());
    }
    Replica& backup = start("host-3", {"backup", "--primary", primary.address()}, root_->image());
    stage_.until([&] { return backup.role() == Role::following; }, kPatience, "a backup with the same image");
}

TEST_F(LinuxPair, TheConsoleGoesOnWhereTheGuestDoes) {
    Replica& primary = start_primary();
    Replica& backup = start("host-2", {"backup", "--primary", primary.address()}, root_->image());
    stage_.until([&] { return primary.role() == Role::leading; }, kPatience, "a protected guest");
    EXPECT_FALSE(fs::exists(socket_of("host-2"))) << "the guest does not live there";

    // `understudy console`, its keys from a pipe.
    const Pipe keys = make_pipe();
    const auto said = stage_.directory().path() / "console.out";
    const auto type = [&](const std::string& line) {
        ASSERT_EQ(::write(keys.write.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
    };
    const auto console =
        stage_.start("console",
                     {"sh", "-c",
                      fmt::format("exec {} console {} {} < /proc/{}/fd/{}", kExecutable.string(), socket_of("host-1"),
                                  socket_of("host-2"), ::getpid(), keys.read.get())},
                     [](std::string_view /*line*/) {});
    const auto await = [&](const std::string& text) {
        stage_.until([&] { return testing::contents(said).find(text) != std::string::npos; }, kPatience, text);
    };
    type("n=41; echo before $((n+1))\n");
    await("before 42");
    primary.signal(SIGKILL);
    stage_.until([&] { return backup.went_live(); }, kPatience, "a takeover");
    stage_.until([&] { return fs::exists(socket_of("host-2")); }, kPatience, "a console");
    type("echo after $((n+2))\n");
    await("after 43");
    type("exit 9\n");
    stage_.until([&] { return !backup.running(); }, kPatience, "the guest's end");
    EXPECT_THAT(backup.end(), HasSubstr("status 9"));
    EXPECT_EQ(backup.divergences(), 0U);
}

// Writes are not tracked while nothing computes. So the first interval that has to be copied is copied with all of
// memory; a primary that dies meanwhile leaves a part of that, which means nothing.
TEST_F(LinuxPair, AProgramThatBeginsToComputeIsTakenOverWhereverItsPrimaryDies) {
    const std::string script = "sleep 8; echo begin; i=0; while [ $i -lt 600000 ]; do i=$((i+1)); done; echo sum $i";
    for (const int milliseconds : {60, 120, 250}) {
        Replica& primary = start_primary({"primary", "--memory", "256M", "--", "sh", "-c", script}, "begin");
        Replica& backup = start("host-2", {"backup", "--primary", primary.address()}, root_->image(), "sum 600000");
        stage_.until([&] { return primary.role() == Role::leading; }, kPatience, "a protected guest");
        stage_.until([&] { return primary.serves(); }, kPatience, "a program that computes");
        stage_.pause(std::chrono::milliseconds(milliseconds));
        primary.signal(SIGKILL);
        stage_.until([&] { return !backup.running(); }, kPatience, "the guest's end");
        EXPECT_TRUE(backup.went_live());
        EXPECT_TRUE(backup.serves()) << backup.end();
        EXPECT_EQ(backup.divergences(), 0U);
    }
}

// 400 MiB that the guest wrote and freed: it has reported them some seconds later. All of memory is compared
// afterwards.
TEST_F(LinuxPair, ANameIsFreeAgainWhenItsGuestHasEnded) {
    Replica& primary = start_primary({"primary", "--", "sh", "-c", "sleep 3; exit 4"});
    Replica& backup = start("host-2", {"backup", "--primary", primary.address()}, root_->image());
    stage_.until([&] { return primary.role() == Role::leading; }, kPatience, "a protected guest");
    stage_.until([&] { return !primary.running() && !backup.running(); }, kPatience, "the guest's end");
    EXPECT_THAT(primary.end(), HasSubstr("status 4"));
    EXPECT_THAT(backup.end(), HasSubstr("status 4"));
    Replica& next = start_primary();
    EXPECT_EQ(next.generation(), 3U) << "behind those of the guest that ended";

    // This one is killed: it says nothing.
    next.signal(SIGKILL);
    stage_.until([&] { return !next.running(); }, kPatience, "its death");
    const Replica& refused = start("host-3", {"primary", "--", "sh"}, root_->image());
    stage_.until([&] { return !refused.running(); }, kPatience, "a refusal");
    EXPECT_THAT(refused.end(), HasSubstr("understudy arbiter forget"));
    const auto forget = [&](std::vector<std::string> words) {
        words.insert(words.begin(),
                     {kExecutable, "arbiter", "forget", "--arbiter", arbiters_.operator_url(), "--vm", "guest"});
        return run_to_end(std::move(words));
    };
    EXPECT_THAT(forget({"--generation", "3"}).errors, HasSubstr("no replica of guest runs any more"));
    EXPECT_THAT(forget({"--generation", "2", "--no-replica-runs"}).errors, HasSubstr("VM guest is at generation 3"));
    EXPECT_EQ(forget({"--generation", "3", "--no-replica-runs"}).exit_status, 0);
    EXPECT_EQ(start_primary().generation(), 4U);
}

// Processes of this one's group that use all processors.
class Crowd {
  public:
    Crowd() {
        for (unsigned i = 0; i < 2 * std::thread::hardware_concurrency(); ++i) {
            spinners_.emplace_back([](const std::stop_token& stop) {
                while (!stop.stop_requested()) {
                }
            });
        }
    }

  private:
    std::vector<std::jthread> spinners_;
};

// All of it but the thread that listens to its primary.
void slow_down(pid_t process) {
    constexpr int kLow = 10;
    for (const auto& task : fs::directory_iterator(fmt::format("/proc/{}/task", process))) {
        const pid_t thread = std::stoi(task.path().filename());
        if (thread != process) {
            ASSERT_EQ(::setpriority(PRIO_PROCESS, static_cast<id_t>(thread), kLow), 0);
        }
    }
}

TEST_F(LinuxPair, ABackupThatIsBehindEndsAsItsGuestDoes) {
    Replica& primary = start_primary(
        {"primary", "--", "sh", "-c", "echo begins; sleep 4; for i in $(seq 25); do ls > /tmp/x; done; exit 7"},
        "begins");
    const Replica& backup = start("host-2", {"backup", "--primary", primary.address()}, root_->image());
    stage_.until([&] { return primary.role() == Role::leading && primary.serves(); }, kPatience, "a protected guest");
    slow_down(backup.pid());
    const Crowd crowd;
    stage_.until([&] { return !primary.running() && !backup.running(); }, kPatience, "the guest's end");
    EXPECT_THAT(primary.end(), HasSubstr("status 7"));
    EXPECT_THAT(backup.end(), HasSubstr("status 7"));
}

TEST_F(LinuxPair, MemoryThatTheGuestHasFreedIsNotSent) {
    constexpr const char* kProgram =
        "dd if=/dev/urandom of=/tmp/x bs=1M count=400; rm /tmp/x; sleep 12; echo freed; "
        "while :; do sleep 1; done";
    Replica& primary =
        start_primary({"primary", "--memory", "768M", "--digest-interval", "100", "--", "sh", "-c", kProgram}, "freed");
    stage_.until([&] { return primary.serves(); }, kPatience * 3, "memory to be freed");
    const Replica& backup = start("host-2", {"backup", "--primary", primary.address()}, root_->image());
    stage_.until([&] { return backup.compared_stops() > 20; }, kPatience, "stops that were compared");
    ASSERT_TRUE(primary.transfer());
    EXPECT_LT(primary.transfer()->bytes_sent, 150U << 20U);
    EXPECT_EQ(backup.divergences(), 0U);
}

// Memory is written to faster than it is sent, and there is hardly room for what it held.
TEST_F(LinuxPair, ABackupIsDroppedBeforeItsStateTakesTooMuchMemoryOfThePrimarysHost) {
    Replica& primary = start_primary({"primary", "--memory", "512M", "--put-aside", "256K", "--", "sh", "-c",
                                      "while :; do dd if=/dev/urandom of=/tmp/x bs=1M count=300; echo written; done"},
                                     "written");
    stage_.until([&] { return primary.serves(); }, kPatience, "a busy guest");
    const Replica& backup = start("host-2", {"backup", "--primary", primary.address()}, root_->image());
    stage_.until([&] { return !backup.running(); }, kPatience, "the backup to be dropped");
    EXPECT_THAT(backup.end(), HasSubstr("status 4"));
    EXPECT_TRUE(primary.running());
    EXPECT_EQ(primary.role(), Role::solo);
    EXPECT_FALSE(primary.transfer());
}

// What it writes meanwhile waits behind the state: more than goes to a backup in one piece.
TEST_F(LinuxPair, AGuestThatComputesGoesOnWhileItsStateIsSentOverASlowNetwork) {
    Replica& primary = start_primary({"primary", "--memory", "1G", "--", "sh", "-c",
                                      "dd if=/dev/urandom of=/tmp/x bs=1M count=400; echo filled; busybox awk 'BEGIN { "
                                      "while (1) a[int(rand() * 10000)] = rand() }' & "
                                      "while :; do sleep 0.1; echo tick; done"},
                                     "filled");
    stage_.until([&] { return primary.serves(); }, kPatience, "a busy guest");
    const Relay network(primary.address(), {.delay = {}, .per_second = 20_MiB});
    const Replica& backup = start("host-2", {"backup", "--primary", network.address()}, root_->image());
    const auto ticks = [&] {
        const std::string said = testing::contents(stage_.directory().path() / "host-1.out");
        std::size_t count = 0;
        for (auto at = said.find("tick"); at != std::string::npos; at = said.find("tick", at + 1)) {
            ++count;
        }
        return count;
    };
    stage_.until([&] { return primary.role() == Role::forming; }, kPatience, "a transfer");
    const std::size_t before = ticks();
    stage_.until([&] { return primary.transfer().has_value() || !backup.running(); }, 2 * kPatience, "a whole state");
    ASSERT_TRUE(primary.transfer()) << backup.end();
    EXPECT_GT(static_cast<double>(ticks() - before), primary.transfer()->ms / 1000) << "one in a second at the least";
    EXPECT_GT(primary.transfer()->bytes_sent, (400_MiB).value);
    stage_.until([&] { return primary.role() == Role::leading || !backup.running(); }, 2 * kPatience,
                 "a protected guest");
    EXPECT_EQ(primary.role(), Role::leading) << backup.end();
}

TEST_F(LinuxPair, ARestartedGuestIsStillProtectedAndRestartsWhereItLives) {
    Replica& primary = start_primary({"primary", "--memory", "96M", "--on-reboot", "restart", "--digest-interval", "20",
                                      "--", "sh", "-c", "echo booted; sleep 4; reboot -f"},
                                     "booted");
    stage_.until([&] { return primary.serves(); }, kPatience, "a guest");
    Replica& backup = start("host-2", {"backup", "--primary", primary.address()}, root_->image(), "booted");
    stage_.until([&] { return primary.role() == Role::leading; }, kPatience, "a protected guest");
    const auto boots = [](const Replica& replica) { return std::ranges::count(replica.console(), "booted\r"); };
    const auto before = boots(primary);
    stage_.until([&] { return boots(primary) > before; }, kPatience, "a reboot of a protected guest");
    primary.signal(SIGKILL);
    stage_.until([&] { return backup.went_live(); }, kPatience, "a takeover");
    stage_.until([&] { return backup.serves(); }, kPatience, "a reboot behind a takeover");
    EXPECT_GT(backup.compared_stops(), 20U);
    EXPECT_EQ(backup.divergences(), 0U);
}

}  // namespace
}  // namespace understudy::tools
