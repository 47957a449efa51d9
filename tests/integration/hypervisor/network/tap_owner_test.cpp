// Taps that outlive their processes, and users without rights.
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <boost/asio/io_context.hpp>
#include <string>
#include <vector>

#include "tests/integration/hypervisor/network/tap_station.hpp"

namespace understudy::network::testing {
namespace {

constexpr unsigned kNobody = 65534;

// As `ip tuntap add tap-a mode tap user nobody` makes it: it outlives its processes.
void make_tap_for_nobody() {
    const FileDescriptor tap(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    ifreq request{};
    std::string("tap-a").copy(static_cast<char*>(request.ifr_name), IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    must(::ioctl(tap.get(), TUNSETIFF, &request), "TUNSETIFF");
    must(::ioctl(tap.get(), TUNSETOWNER, static_cast<unsigned long>(kNobody)), "TUNSETOWNER");
    must(::ioctl(tap.get(), TUNSETPERSIST, 1UL), "TUNSETPERSIST");
}

// Of this thread alone, for good: the C library's call would change all threads. Where the device is root's, nobody has
// one of his own, as udev makes it.
void become_nobody() {
    must(::unshare(CLONE_NEWNS), "unshare");
    must(::mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr), "mount");
    must(::mount("tmpfs", "/dev/net", "tmpfs", 0, nullptr), "mount");
    must(::mknod("/dev/net/tun", S_IFCHR, makedev(10, 200)), "mknod");
    must(::chmod("/dev/net/tun", 0666), "chmod");
    must(static_cast<int>(::syscall(SYS_setresuid, kNobody, kNobody, kNobody)), "setresuid");
}

TEST_F(TapTest, ATapThatStaysIsTakenAgainAndAgain) {
    on_a_bridge([] {
        make_tap_for_nobody();
        for (int run = 0; run < 3; ++run) {
            asio::io_context io;
            std::vector<Frame> received;
            const auto link = make_link(io, config("tap:tap-a,bridge=br-test"), collect(received));
            Station station;
            link->speak({.generation = {1}});
            station.send_until(io, frame_to_guest(std::byte{1}), [&] { return !received.empty(); });
        }
    });
}

TEST_F(TapTest, AUserNeedsNoRightsForATapThatRootHasSetUp) {
    on_a_bridge([] {
        make_tap_for_nobody();
        {
            asio::io_context io;
            (void)make_link(io, config("tap:tap-a,bridge=br-test"), [](const Frame&) {});  // as root: up, on the bridge
        }
        Station station;
        become_nobody();
        for (const char* endpoint : {"tap:tap-a", "tap:tap-a,bridge=br-test"}) {
            asio::io_context io;
            std::vector<Frame> received;
            const auto link = make_link(io, config(endpoint), collect(received));
            link->speak({.generation = {1}});
            station.send_until(io, frame_to_guest(std::byte{1}), [&] { return !received.empty(); });
        }
    });
}

TEST_F(TapTest, AUserIsToldWhatRootHasToDo) {
    on_a_bridge([] {
        make_tap_for_nobody();
        become_nobody();
        asio::io_context io;
        const auto error = [&](const std::string& endpoint) {
            return error_of([&] { (void)make_link(io, config(endpoint), [](const Frame&) {}); });
        };
        EXPECT_NE(error("tap:tap-a").find("ip link set tap-a up"), std::string::npos) << error("tap:tap-a");
        EXPECT_NE(error("tap:tap-a,bridge=br-test").find("ip link set tap-a master br-test"), std::string::npos);
        EXPECT_NE(error("tap:tap-b").find("needs root"), std::string::npos);
    });
}

}  // namespace
}  // namespace understudy::network::testing
