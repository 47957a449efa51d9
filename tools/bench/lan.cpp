#include "tools/bench/lan.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>

#include "common/error.hpp"
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

bool runs(const std::string& command) {
    try {
        return run_to_end({"/bin/sh", "-c", "command -v " + command}).exit_status == 0;
    } catch (const Error&) {
        return false;
    }
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
        if (!runs(command)) {
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
    configure({"ip", "link", "add", std::string(kBridge), "type", "bridge"});
    configure({"ip", "link", "set", std::string(kBridge), "up"});
}

Lan::Station Lan::add_station(Stage& stage, const std::string& name, const std::string& address) {
    bool there = false;
    const auto holder = stage.start("station-" + name, {"unshare", "-n", "sh", "-c", "echo there; exec sleep infinity"},
                                    [&](std::string_view /*line*/) { there = true; });
    stage.until([&] { return there; }, kConfigureTime, "the namespace of " + name);
    const std::string pid = std::to_string(holder->pid());
    const std::string outside = "v-" + name;
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
    return {holder, words};
}

}  // namespace understudy::tools
