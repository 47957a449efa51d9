// What one VM is, as the machine needs it: files, memory, arguments, addresses.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "common/units.hpp"

namespace understudy::machine {

struct NetworkConfig {
    std::array<std::uint8_t, 6> mac{};
    std::uint32_t address = 0;  // IPv4, network byte order
    std::uint32_t netmask = 0;
    std::uint32_t gateway = 0;
};

struct VmConfig {
    std::string name = "guest";
    Bytes memory = 64_MiB;                 // a multiple of 2 MiB
    std::string kernel;                    // the guest kernel's ELF file
    std::string program;                   // a static x86-64 ELF file
    std::vector<std::string> arguments;    // argv[1..]; argv[0] is the program's file name
    std::vector<std::string> environment;  // "NAME=value"
    std::string root_archive;              // a ustar file, or empty
    bool has_network = false;
    NetworkConfig network;
    // CLOCK_REALTIME at guest time 0.
    std::chrono::nanoseconds realtime_offset{0};
};

// A Linux guest.
struct LinuxConfig {
    std::string name = "guest";            // its host name, too
    Bytes memory = 512_MiB;                // the kernel's RAM, a multiple of 2 MiB
    std::string kernel;                    // vmlinux, built by guest/linux
    std::string layer;                     // the paravirtual layer's ELF file
    std::string init;                      // guest/init
    std::string initrd;                    // a cpio archive that takes the place of init; empty: none
    std::string command_line;              // the kernel's, behind what the monitor says itself
    std::string image;                     // a file that the guest reads as its first disk, or empty
    std::vector<std::string> arguments;    // the command to run; empty: the image's own /sbin/init
    std::vector<std::string> environment;  // of the command, "NAME=value"
    bool has_network = false;
    NetworkConfig network;
    std::vector<std::string> nameservers;
    bool restarts_on_reboot = false;  // and does not end
    bool restarts_on_crash = false;   // of its kernel
    // CLOCK_REALTIME at guest time 0.
    std::chrono::nanoseconds realtime_offset{0};
};

using GuestConfig = std::variant<VmConfig, LinuxConfig>;

}  // namespace understudy::machine
