// What a guest keeps where it outlives the guest: a disk that a server on the network has.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

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
using ::testing::AnyOf;
using testing::contents;
using testing::kExecutable;
using testing::kPatience;
using testing::kSuspicion;

class NetworkDisk : public testing::OnKvm {
  protected:
    // An image with what mounts such a disk. Without one: what was in the way.
    std::string make_image() {
        const auto build = stage_.start(
            "image", {kExecutable.string(), "image", "--package", "nbd-client,e2fsprogs", "--output", image_.string()},
            [](std::string_view) {});
        stage_.until([&] { return !build->running(); }, 10min, "the image");
        return build->exit_status() == 0 ? "" : build->last_words();
    }
    void start_server() {
        std::ofstream(disk_).flush();
        std::filesystem::resize_file(disk_, std::uintmax_t{64} << 20U);
        const auto config = stage_.directory().path() / "nbd.conf";
        std::ofstream(config) << fmt::format(
            "[generic]\nlistenaddr = 127.0.0.1\nport = {}\n[disk]\nexportname = {}\nflush = true\nfua = true\n", port_,
            disk_.string());
        server_ = stage_.start("nbd-server", {"nbd-server", "-d", "-C", config.string()}, [](std::string_view) {});
        const std::string listens = fmt::format("ss -Hltn sport = {} | grep -q .", port_);
        stage_.until(
            [&] {
                return run_to_end({"sh", "-c", listens}).exit_status == 0 || !server_->running();
            },
            kPatience, "the server");
        ASSERT_TRUE(server_->running()) << server_->last_words();
    }
    void start_gateway_to_host() {
        gateway_ = stage_.start("gateway",
                                {kExecutable.string(), "gateway", "--host-loopback", "--listen", endpoint_, "--forward",
                                 fmt::format("tcp:127.0.0.1:{}:7", free_port())},
                                [](std::string_view) {});
        stage_.until([&] { return std::filesystem::is_socket(socket_) || !gateway_->running(); }, kPatience,
                     "the gateway");
    }
    std::unique_ptr<Replica> start(const std::string& host, std::vector<std::string> command) {
        const std::vector<std::string> rest = {
            "--name",    "guest",       "--image",   image_.string(),        "--listen",    "127.0.0.1:0", "--json",
            "--arbiter", arbiters_.url, "--network", "gateway:" + endpoint_, "--suspicion", kSuspicion};
        command.insert(command.begin(), kExecutable);
        command.insert(command.begin() + 2, arbiters_.credentials.begin(), arbiters_.credentials.end());
        command.insert(command.begin() + 2, rest.begin(), rest.end());
        return std::make_unique<Replica>(stage_, host, std::move(command), "MOUNTED");
    }

    Stage stage_;
    std::filesystem::path image_ = stage_.directory().path() / "guest.img";
    std::filesystem::path disk_ = stage_.directory().path() / "disk";
    std::filesystem::path socket_ = stage_.directory().path() / "gateway.socket";
    std::string endpoint_ = "unix:" + socket_.string();
    std::uint16_t port_ = free_port();
    Arbiters arbiters_;
    std::shared_ptr<Child> server_;
    std::shared_ptr<Child> gateway_;
};

// A file system on it, written to all the time, does not notice that the primary dies. And a program there that is
// written over in place is what was written, not what ran before.
TEST_F(NetworkDisk, IsWrittenByWhoeverRunsTheGuest) {
    if (run_to_end({"sh", "-c", "command -v nbd-server"}).exit_status != 0) {
        GTEST_SKIP() << "no nbd-server: apt-get install nbd-server";
    }
    if (const std::string trouble = make_image(); !trouble.empty()) {
        GTEST_SKIP() << "no image of nbd-client: " << trouble;
    }
    ASSERT_NO_FATAL_FAILURE(start_server());
    start_gateway_to_host();
    arbiters_ = start_arbiters(stage_, kExecutable);
    // It writes until somebody listens on this port of the host.
    const std::uint16_t enough = free_port();
    const std::string work = fmt::format(
        "export PATH=$PATH:/sbin:/usr/sbin; set -e; nbd-client -N disk 10.0.2.2 {} /dev/nbd0; mkfs.ext4 -q /dev/nbd0; "
        "mount /dev/nbd0 /mnt; cp /bin/true /mnt/program; /mnt/program; cat /bin/false 1<>/mnt/program; "
        "if /mnt/program; then echo OLD CODE; exit 1; fi; echo MOUNTED; i=0; until (exec 3<>/dev/tcp/10.0.2.2/{}) "
        "2>/dev/null; do i=$((i+1)); "
        "echo $i >> /mnt/lines; sync /mnt/lines; done; umount /mnt; nbd-client -d /dev/nbd0; echo WROTE $i",
        port_, enough);
    const auto primary = start("host 1", {"primary", "--memory", "128M", "--", "bash", "-c", work});
    stage_.until([&] { return (primary->serves() && !primary->address().empty()) || !primary->running(); }, kPatience,
                 "the disk to be mounted");
    ASSERT_TRUE(primary->running()) << primary->end();
    const auto backup = start("host 2", {"backup", "--primary", primary->address()});
    const auto formed = [&] {
        return primary->role() == Role::leading && backup->role() == Role::following && backup->compared_stops() > 0;
    };
    stage_.until([&] { return formed() || !backup->running() || !primary->running(); }, kPatience, "a protected guest");
    ASSERT_TRUE(formed()) << "the guest was not protected";
    primary->signal(SIGKILL);
    stage_.until([&] { return backup->went_live() || !backup->running(); }, kPatience, "the other host to take over");
    boost::asio::io_context io;
    const boost::asio::ip::tcp::acceptor listener(io, {boost::asio::ip::address_v4::loopback(), enough});
    stage_.until([&] { return !backup->running(); }, kPatience, "the guest to end on the other host");
    EXPECT_TRUE(backup->went_live()) << backup->end();
    EXPECT_EQ(backup->divergences(), 0U);

    const auto check = [&](const std::string& line) {
        return run_to_end({"sh", "-c", fmt::format("PATH=$PATH:/sbin:/usr/sbin; disk={}; {}", disk_.string(), line)});
    };
    const Finished checked = check("e2fsck -fn $disk");
    EXPECT_EQ(checked.exit_status, 0) << checked.output << checked.errors;
    const Finished read = check(
        "debugfs -R 'cat /lines' $disk > $disk.lines; n=$(wc -l < $disk.lines); [ $n -gt 0 ] && seq $n | cmp - "
        "$disk.lines && "
        "echo WROTE $n");
    EXPECT_EQ(read.exit_status, 0) << read.output << read.errors << contents(disk_.string() + ".lines");
    ASSERT_FALSE(backup->console().empty());
    const std::string wrote = read.output.substr(0, read.output.find('\n'));
    EXPECT_THAT(backup->console().back(), AnyOf(wrote, wrote + "\r"));
}

}  // namespace
}  // namespace understudy::tools
