#include "tools/demo/lan.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "common/error.hpp"
#include "common/file_descriptor.hpp"
#include "common/require.hpp"
#include "tools/demo/installed.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kConfigureTime = 10s;

void configure(const std::vector<std::string>& command) {
    const auto done = run_to_end(ProcessConfig{.command = command}, kConfigureTime);
    if (done.exit_status != 0) {
        throw Error::format("{}: {}", fmt::join(command, " "), done.errors);
    }
}

// A station's cable, at its other end.
std::string outside_of(const std::string& name) {
    return "v-" + name;
}

}  // namespace

std::string Lan::missing() {
    if (::geteuid() != 0) {
        return "needs root: it makes network namespaces and taps";
    }
    if (::access("/dev/net/tun", R_OK | W_OK) != 0) {
        return "needs /dev/net/tun";
    }
    for (const char* command : {"ip", "nsenter", "unshare"}) {
        if (!is_installed(command)) {
            return fmt::format("needs {}: apt-get install iproute2 util-linux", command);
        }
    }
    return {};
}

Lan::Lan() {
    if (::unshare(CLONE_NEWNET) != 0) {
        throw Error::from_errno("a network namespace", errno);
    }
    configure({"ip", "link", "set", "lo", "up"});
    // With an address of its own: else it has the lowest of its stations', and another when that one goes. Who had
    // asked for it before then sends into nowhere.
    configure({"ip", "link", "add", std::string(kBridge), "address", "02:75:73:00:00:01", "type", "bridge"});
    configure({"ip", "address", "add", fmt::format("{}/24", kAddress), "dev", std::string(kBridge)});
    configure({"ip", "link", "set", std::string(kBridge), "up"});
}

// Not by `ip`: what it takes to start would be part of the fault.
void Lan::set_link(const std::string& name, bool up) {
    ifreq request{};
    const std::string outside = outside_of(name);
    require(outside.size() < sizeof request.ifr_name, "an interface's name is short");
    std::ranges::copy(outside, std::begin(request.ifr_name));
    const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) {
        throw Error::from_errno("the link " + outside, errno);
    }
    const auto flags = static_cast<unsigned>(request.ifr_flags);
    request.ifr_flags = static_cast<short>(up ? flags | IFF_UP : flags & ~static_cast<unsigned>(IFF_UP));
    if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) {
        throw Error::from_errno("the link " + outside, errno);
    }
}

Lan::Station Lan::add_station(Stage& stage, const std::string& name, const std::string& address) {
    bool there = false;
    const auto holder = stage.start("station-" + name, {"unshare", "-n", "sh", "-c", "echo there; exec sleep infinity"},
                                    [&](std::string_view /*line*/) { there = true; });
    stage.until([&] { return there; }, kConfigureTime, "the namespace of " + name);
    const std::string pid = std::to_string(holder->pid());
    const std::string outside = outside_of(name);
    configure({"ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", pid});
    configure({"ip", "link", "set", outside, "master", std::string(kBridge)});
    configure({"ip", "link", "set", outside, "up"});
    std::vector<std::string> words = {"nsenter", "-t", pid, "-n", "--"};
    const auto inside = [&](std::vector<std::string> command) {
        command.insert(command.begin(), words.begin(), words.end());
        configure(command);
    };
    inside({"ip", "address", "add", address + "/24", "dev", "eth0"});
    inside({"ip", "link", "set", "lo", "up"});
    inside({"ip", "link", "set", "eth0", "up"});
    return {name, holder, words};
}

}  // namespace understudy::tools
