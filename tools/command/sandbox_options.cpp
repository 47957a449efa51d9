#include "tools/command/sandbox_options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <utility>

#include "common/tell.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;
using sandbox::Path;
using sandbox::Use;

// Standard input is opened anew for a console.
void add_standard_descriptors(std::vector<Path>& paths) {
    for (const int fd : {0, 1, 2}) {
        std::error_code error;
        const auto target = fs::read_symlink(fmt::format("/proc/self/fd/{}", fd), error);
        if (!error && target.is_absolute()) {
            paths.push_back({target, Use::write});
        }
    }
}

}  // namespace

SandboxOptions::SandboxOptions(CLI::App& app) {
    app.add_flag("--no-sandbox", none_,
                 "Keep all system calls, files and privileges of this process: for debuggers and tracers");
}

std::string SandboxOptions::enter(sandbox::Walls walls) const {
    if (none_) {
        return {};
    }
    add_standard_descriptors(walls.paths);
    for (Path& path : sandbox::resolver_files()) {
        walls.paths.push_back(std::move(path));
    }
    return sandbox::enter(walls);
}

void SandboxOptions::enter_and_tell(sandbox::Walls walls) const {
    if (const std::string lacking = enter(std::move(walls)); !lacking.empty()) {
        tell("understudy: {}\n", lacking);
    }
}

std::function<void()> SandboxOptions::for_guest_thread() const {
    return none_ ? std::function<void()>() : sandbox::enter_guest_thread;
}

fs::path folder_of(const fs::path& file) {
    return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

void add_memory_figures(sandbox::Walls& walls) {
    for (const auto* file : {"/proc/meminfo", "/proc/self", "/sys/fs/cgroup"}) {
        walls.paths.push_back({file, Use::read});
    }
}

sandbox::Walls walls_for(const GuestFiles& files) {
    sandbox::Walls walls;
    walls.profile = sandbox::Profile::replica;
    walls.makes_taps = files.network.starts_with("tap:");
    auto& paths = walls.paths;
    paths = {{"/dev/kvm", Use::write}, {"/dev/userfaultfd", Use::write}};
    add_memory_figures(walls);  // asked when a backup joins
    if (walls.makes_taps) {
        paths.push_back({"/dev/net/tun", Use::write});
        paths.push_back({"/proc/sys/net/ipv6/conf", Use::write});
    }
    for (const auto& file : files.read) {
        if (!file.empty()) {
            paths.push_back({file, Use::read});
        }
    }
    if (!files.record.empty()) {
        paths.push_back({files.record, Use::record});
    }
    if (!files.console_socket.empty()) {
        paths.push_back({folder_of(files.console_socket), Use::sockets});
    }
    if (!files.keep.empty()) {
        paths.push_back({files.keep, Use::keep});
    }
    return walls;
}

}  // namespace understudy::tools
