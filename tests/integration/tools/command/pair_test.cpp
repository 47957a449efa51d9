// Pairs as their operators meet them: what is refused without damage, and what is said about it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/address.hpp"
#include "common/temporary_directory.hpp"
#include "logging_channel/preamble.hpp"
#include "tests/integration/tools/on_kvm.hpp"
#include "tools/demo/replica.hpp"
#include "tools/demo/services.hpp"
#include "tools/demo/stage.hpp"
#include "tools/process/free_ports.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using replication::Role;
using testing::contents;
using ::testing::HasSubstr;
using testing::kExecutable;
using testing::kPatience;
using testing::kSuspicion;
using testing::OnKvm;

const std::string kKv = UNDERSTUDY_BINARY_DIR "/programs/kv";

class Pair : public OnKvm {
  protected:
    void SetUp() override {
        OnKvm::SetUp();
        if (!IsSkipped()) {
            arbiters_ = start_arbiters(stage_, kExecutable);
        }
    }

    std::vector<std::string> primary(const std::string& listen = "127.0.0.1:0", const std::string& program = kKv) {
        return with_credentials({kExecutable.string(), "primary", "--name", "kv", "--program", program, "--memory",
                                 "64M", "--listen", listen, "--json", "--arbiter", arbiters_.url, "--suspicion",
                                 kSuspicion});
    }
    std::vector<std::string> backup(const std::string& of, const std::string& name = "kv") {
        return with_credentials({kExecutable.string(), "backup", "--name", name, "--primary", of, "--listen",
                                 "127.0.0.1:0", "--arbiter", arbiters_.url, "--suspicion", kSuspicion, "--json"});
    }
    [[nodiscard]] std::vector<std::string> with_credentials(std::vector<std::string> command) const {
        command.insert(command.end(), arbiters_.credentials.begin(), arbiters_.credentials.end());
        return command;
    }
    // In plain text to other replicas, and as ever to the arbiter.
    [[nodiscard]] std::vector<std::string> insecure(std::vector<std::string> command) const {
        command.resize(command.size() - arbiters_.credentials.size());
        *std::ranges::find(command, arbiters_.url) = arbiters_.url + "?tls=" + arbiters_.credentials.back();
        command.emplace_back("--insecure");
        return command;
    }
    Replica& start(const std::string& host, std::vector<std::string> command) {
        return *replicas_.emplace_back(std::make_unique<Replica>(stage_, host, std::move(command)));
    }
    Replica& start_solo() { return start_solo(primary()); }
    Replica& start_solo(std::vector<std::string> command) {
        Replica& replica = start("host 1", std::move(command));
        stage_.until([&] { return replica.role() == Role::solo && !replica.address().empty(); }, kPatience,
                     "a primary");
        return replica;
    }
    void await_end(const Replica& replica) {
        stage_.until([&] { return !replica.running(); }, kPatience, replica.host() + " to end");
    }

    Stage stage_;
    Arbiters arbiters_;
    std::vector<std::unique_ptr<Replica>> replicas_;
};

TEST_F(Pair, TheSecondPrimaryOfAVmIsRefusedAndTheFirstGoesOn) {
    const Replica& first = start_solo();
    const Replica& second = start("host 2", primary());
    await_end(second);
    EXPECT_THAT(second.end(), HasSubstr("ended with status 1: understudy: "));
    EXPECT_THAT(second.end(), HasSubstr("kv"));
    EXPECT_THAT(second.end(), HasSubstr("give this one another name"));
    EXPECT_TRUE(first.running());
    EXPECT_EQ(first.role(), Role::solo);
}

TEST_F(Pair, APortInUseIsNamed) {
    const Replica& first = start_solo();
    auto command = primary(first.address());
    command.at(3) = "other";
    const Replica& second = start("host 2", std::move(command));
    await_end(second);
    EXPECT_THAT(second.end(), HasSubstr("ended with status 1: understudy: "));
    EXPECT_THAT(second.end(), HasSubstr(first.address()));
}

// The small kernel's programs are interrupted where they count, and nowhere else.
TEST_F(Pair, AGuestThatComesToNoStopCannotBeJoinedAndItsPrimarySaysSo) {
    const std::string spin = UNDERSTUDY_BINARY_DIR "/tests/replication-programs/uncounted_spin";
    const Replica& first = start("host 1", primary("127.0.0.1:0", spin));
    const auto said = stage_.directory().path() / "host-1.out";
    stage_.until([&] { return contents(said).find("spins") != std::string::npos; }, kPatience, "the guest");
    const Replica& second = start("host 2", backup(first.address()));
    await_end(second);
    stage_.until([&] { return contents(said).find("has come to no stop") != std::string::npos; }, kPatience,
                 "the reason");
    EXPECT_TRUE(first.running());
    EXPECT_EQ(first.role(), Role::solo);
}

TEST_F(Pair, ABackupOfAnotherVmIsRefused) {
    const Replica& first = start_solo();
    const Replica& second = start("host 2", backup(first.address(), "other"));
    await_end(second);
    EXPECT_THAT(second.end(), HasSubstr("ended with status 1: understudy: "));
    EXPECT_THAT(second.end(), HasSubstr("other"));
    EXPECT_TRUE(first.running());
}

// Started at the same time as its primary, whose arbiters have no leader yet.
TEST_F(Pair, ABackupWaitsForAPrimaryThatIsStillClaiming) {
    for (const auto& server : arbiters_.servers) {
        server->signal(SIGSTOP);
    }
    const Replica& first = start("host 1", primary());
    stage_.until([&] { return !first.address().empty(); }, kPatience, "a primary");
    const Replica& second = start("host 2", backup(first.address()));
    const auto a_while = std::chrono::steady_clock::now() + 1s;
    stage_.until([&] { return std::chrono::steady_clock::now() > a_while; }, kPatience, "a while");
    EXPECT_TRUE(second.running()) << second.end();
    for (const auto& server : arbiters_.servers) {
        server->signal(SIGCONT);
    }
    stage_.until([&] { return first.role() == Role::leading || !first.running() || !second.running(); }, kPatience,
                 "a protected guest");
    EXPECT_EQ(first.role(), Role::leading) << first.end() << second.end();
}

TEST_F(Pair, ABackupWithoutAPrimarySaysSo) {
    const Replica& second = start("host 2", backup(fmt::format("127.0.0.1:{}", free_port())));
    await_end(second);
    EXPECT_THAT(second.end(), HasSubstr("ended with status 1: understudy: "));
    EXPECT_THAT(second.end(), HasSubstr("127.0.0.1:"));
    const std::string once = "cannot join the primary";
    EXPECT_EQ(second.end().find(once), second.end().rfind(once)) << second.end();
}

TEST_F(Pair, AnotherVersionIsNamedAtThePrimaryAndAtTheBackup) {
    const Replica& first = start_solo(insecure(primary()));
    const auto other = channel::preamble(channel::kProtocolVersion + 1);
    boost::asio::io_context io;
    boost::asio::ip::tcp::socket old_backup(io);
    old_backup.connect({boost::asio::ip::address_v4::loopback(), parse_address(first.address()).port});
    boost::asio::write(old_backup, boost::asio::buffer(other));
    const auto said = stage_.directory().path() / "host-1.out";
    const std::string named = fmt::format("it speaks version {} of the logging channel", channel::kProtocolVersion + 1);
    stage_.until([&] { return contents(said).find(named) != std::string::npos; }, kPatience, "a warning");
    EXPECT_EQ(first.role(), Role::solo);

    boost::asio::ip::tcp::acceptor old_primary(io, {boost::asio::ip::address_v4::loopback(), 0});
    const std::jthread greeter([&] {
        std::vector<boost::asio::ip::tcp::socket> accepted;
        for (boost::system::error_code error; !error;) {
            accepted.push_back(old_primary.accept(error));
            boost::system::error_code ignored;
            boost::asio::write(accepted.back(), boost::asio::buffer(other), ignored);
        }
    });
    const Replica& second =
        start("host 2", insecure(backup(fmt::format("127.0.0.1:{}", old_primary.local_endpoint().port()))));
    const std::shared_ptr<void> end(nullptr, [&](void*) { ::shutdown(old_primary.native_handle(), SHUT_RDWR); });
    await_end(second);
    EXPECT_THAT(second.end(), HasSubstr("ended with status 1: understudy: "));
    EXPECT_THAT(second.end(), HasSubstr(named));
    EXPECT_THAT(second.end(), HasSubstr("run the same understudy on both hosts"));
}

TEST_F(Pair, APrimaryWithoutAnArbiterDoesNotStartItsGuest) {
    auto command = primary();
    *std::ranges::find(command, arbiters_.url) = fmt::format("raft://127.0.0.1:{}", free_port());
    const Replica& first = start("host 1", std::move(command));
    await_end(first);
    EXPECT_THAT(first.end(), HasSubstr("ended with status 1: understudy: "));
    EXPECT_THAT(first.end(), HasSubstr("arbiter"));
    EXPECT_EQ(contents(stage_.directory().path() / "host-1.out").find("console"), std::string::npos);
}

TEST_F(Pair, GarbageAndPortScansDoNotDisturbAPrimary) {
    const Replica& first = start_solo();
    const auto port = parse_address(first.address()).port;
    boost::asio::io_context io;
    for (const std::string& bytes : {std::string(), std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
                                     std::string(100'000, '\xff'), std::string(100'000, '\0')}) {
        boost::asio::ip::tcp::socket socket(io);
        socket.connect({boost::asio::ip::address_v4::loopback(), port});
        boost::system::error_code ignored;
        boost::asio::write(socket, boost::asio::buffer(bytes), ignored);
    }
    const Replica& second = start("host 2", backup(first.address()));
    stage_.until([&] { return first.role() == Role::leading || !first.running() || !second.running(); }, kPatience,
                 "a protected guest");
    EXPECT_EQ(first.role(), Role::leading) << first.end();
}

// Where a process has its guest's memory: its one mapping of that size.
std::uint64_t guest_memory_of(pid_t process, std::uint64_t size) {
    std::ifstream maps(fmt::format("/proc/{}/maps", process));
    for (std::string line; std::getline(maps, line);) {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx", &begin, &end) == 2 && end - begin == size) {
            return begin;
        }
    }
    return 0;
}

TEST_F(Pair, ABackupThatIsNotTheSameMachineAnyMoreIsBroughtBack) {
    const TemporaryDirectory kept;
    auto command = primary();
    command.insert(command.end(), {"--digest-interval", "50"});
    const Replica& first = start("host 1", std::move(command));
    stage_.until([&] { return first.role() == Role::solo && !first.address().empty(); }, kPatience, "a primary");
    auto second_command = backup(first.address());
    second_command.insert(second_command.end(), {"--keep-diverged", kept.path().string()});
    const Replica& second = start("host 2", std::move(second_command));
    stage_.until([&] { return first.role() == Role::leading; }, kPatience, "a protected guest");
    const std::uint64_t memory = guest_memory_of(second.pid(), 64U << 20U);
    ASSERT_NE(memory, 0U);
    // Memory that the guest does not use yet: nothing but the digest of all of it can tell.
    std::fstream backup_memory(fmt::format("/proc/{}/mem", second.pid()), std::ios::in | std::ios::out);
    backup_memory.seekp(static_cast<std::streamoff>(memory + (50U << 20U)));
    backup_memory << "another machine" << std::flush;
    ASSERT_TRUE(backup_memory.good());
    stage_.until(
        [&] { return first.role() == Role::leading && first.generation() == 3 && second.role() == Role::following; },
        kPatience, "the guest to be protected again");
    EXPECT_EQ(second.divergences(), 1U);
    EXPECT_TRUE(second.running());

    // Both states: its own, where it differed, and the primary's, from which it began anew. They are written beside the
    // guest, for as long as that takes.
    const auto whole_states = [&] {
        return std::ranges::count_if(std::filesystem::directory_iterator(kept.path()), [](const auto& entry) {
            return run_to_end({kExecutable.string(), "replay", "--quiet", entry.path().string()}).exit_status == 0;
        });
    };
    stage_.until([&] { return whole_states() == 2; }, kPatience, "both states to be kept");
}

}  // namespace
}  // namespace understudy::tools
