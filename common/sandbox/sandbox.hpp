// What is left to a process once it has what it needs: few system calls, few files, no privileges. Whoever breaks into
// it by what a guest, a peer or a client sends is inside the same walls.
//
//   system calls   a filter of seccomp: memory, files, sockets, threads of its own, time; no programs, no other
//                  processes, no new executable memory. What is not in it fails with EPERM
//   files          Landlock: the paths that are named, nothing else
//   privileges     no_new_privs; all capabilities dropped but those that are named here
//   limits         no core dumps (they would hold the guest's memory and keys); no more descriptors than now
//
// The thread that runs a guest, which is what a hostile guest reaches first, has a narrower filter of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace understudy::sandbox {

// What a path is needed for. Everything beneath a folder, where it is one.
enum class Use : std::uint8_t {
    read,     // an existing file or folder
    write,    // the same, read and written
    record,   // a file that is written; it is made, where it is not there yet
    sockets,  // a folder in which Unix sockets are made and removed
    keep,     // a folder in which files are made, renamed, written, read and removed
};

struct Path {
    std::filesystem::path path;
    Use use = Use::read;
};

enum class Profile : std::uint8_t { replica, gateway, arbiter };

struct Walls {
    Profile profile = Profile::replica;
    // What is not there is left out: it will not be there later, either.
    std::vector<Path> paths;
    bool makes_taps = false;  // keeps CAP_NET_ADMIN
    // Of the host, that it will listen on: keeps CAP_NET_BIND_SERVICE for as long as the process lives where one of
    // them is a privileged one.
    std::vector<std::uint16_t> ports = {};
};

// From now on the process stays inside, with all threads it will make; there is no way back. Must be called while it
// has one thread. Throws understudy::Error where the kernel has no seccomp. Returns what the kernel lacks besides, in
// words for the user; empty: nothing.
[[nodiscard]] std::string enter(const Walls& walls);

// The calling thread runs a guest: from now on it can do even less. Behind enter(). Throws understudy::Error.
void enter_guest_thread();

// False in a build for a sanitizer, which looks into /proc and traces its own process: enter() does nothing there.
[[nodiscard]] bool available();

// Whether this kernel has Landlock, so that enter() confines files.
[[nodiscard]] bool confines_files();

// What every program reads that looks up names: to be among the paths of who connects by name.
[[nodiscard]] std::vector<Path> resolver_files();

}  // namespace understudy::sandbox
