// What the commands that run guests or listen have in common: they confine themselves.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "common/sandbox/sandbox.hpp"

namespace CLI {
class App;
}

namespace understudy::tools {

// Keep it alive until the options are parsed and enter() was called.
class SandboxOptions {
  public:
    explicit SandboxOptions(CLI::App& app);
    SandboxOptions(const SandboxOptions&) = delete;
    SandboxOptions& operator=(const SandboxOptions&) = delete;

    // Before the process makes its first thread. Standard input, output and error, and the files for looking up names,
    // are among the paths by themselves. Returns what the kernel lacks for it, in words; empty: nothing.
    [[nodiscard]] std::string enter(sandbox::Walls walls) const;
    // The same, and says so on standard error.
    void enter_and_tell(sandbox::Walls walls) const;

    // For the thread that a guest runs on: confines it. Empty without a sandbox.
    [[nodiscard]] std::function<void()> for_guest_thread() const;

  private:
    bool none_ = false;
};

// Where a file is, also one that was named without its folder.
[[nodiscard]] std::filesystem::path folder_of(const std::filesystem::path& file);

// What memory::memory_headroom() reads: for a process that maps a guest's memory behind its walls.
void add_memory_figures(sandbox::Walls& walls);

// The walls of a process that runs a guest.
struct GuestFiles {
    std::vector<std::filesystem::path> read;  // kernels, images, programs; empty ones mean nothing
    std::filesystem::path record;             // each of these may be empty: a log,
    std::filesystem::path console_socket;     // the console's socket,
    std::filesystem::path keep;               // a folder for states that differ
    std::string network;                      // --network
};
[[nodiscard]] sandbox::Walls walls_for(const GuestFiles& files);

}  // namespace understudy::tools
