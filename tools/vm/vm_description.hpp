// What a VM is, before it runs: its program, memory and network, from the command line or from a libvirt domain.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/units.hpp"
#include "hypervisor/network/link.hpp"

namespace understudy::tools {

// The guest's one NIC. Addresses are in network byte order, as Boot of guest/abi wants them.
struct NetworkDescription {
    std::string endpoint = "none";  // see network::LinkConfig; "none": no NIC
    MacAddress mac{};
    std::uint32_t ipv4_address = 0;
    std::uint32_t ipv4_netmask = 0;
    std::uint32_t ipv4_gateway = 0;        // 0: no default route
    std::vector<std::string> nameservers;  // of a Linux guest; none: what its image says

    [[nodiscard]] bool present() const { return endpoint != "none"; }
};

struct VmDescription {
    VmId name;
    Bytes memory;
    std::vector<std::string> environment;  // "KEY=VALUE"
    NetworkDescription network;
    std::filesystem::path kernel;  // the guest kernel's; empty: the one built with this executable

    // A Linux guest: an image, an initial file system, or both.
    std::filesystem::path image;   // the guest's disk, read-only
    std::filesystem::path initrd;  // in place of ours
    std::string command_line;      // the kernel's
    bool restarts_on_reboot = false;
    bool restarts_on_crash = false;
    // The command to run, its name first; of an image alone: none, its own init runs. For `program`: argv[1] and what
    // follows.
    std::vector<std::string> arguments;

    // A guest of the small kernel: a static program.
    std::filesystem::path program;
    std::optional<std::filesystem::path> root_archive;  // a tar file, the guest's read-only root

    [[nodiscard]] bool is_linux() const { return program.empty(); }
};

// The guest kernel that was built with this executable: next to it, or where `cmake --install` puts it.
[[nodiscard]] std::filesystem::path default_kernel_path();

// What a Linux guest starts from, besides its image.
struct LinuxFiles {
    std::filesystem::path kernel;   // vmlinux of guest/linux
    std::filesystem::path layer;    // guest/pv
    std::filesystem::path init;     // guest/init
    std::filesystem::path version;  // a line: the kernel's release, and what it was built from
};

// Those that were built with this executable: in guest/linux/ next to it, or where `cmake --install` puts them. None is
// known to exist.
[[nodiscard]] LinuxFiles default_linux_files();

// The release of that kernel ("6.1.192-understudy"); nothing when there is none.
[[nodiscard]] std::optional<std::string> linux_release(const LinuxFiles& files);

// "64M", "1G", "65536K", "67108864": a positive number with a binary suffix. Throws understudy::Error.
[[nodiscard]] Bytes parse_size(std::string_view text);

// "52:54:00:12:34:56", not a group address. Throws understudy::Error.
[[nodiscard]] MacAddress parse_mac(std::string_view text);

// "10.0.2.15", in network byte order. Throws understudy::Error.
[[nodiscard]] std::uint32_t parse_ipv4(std::string_view text);

// A locally administered address that follows from the VM's name: the same at every replica and every start.
[[nodiscard]] MacAddress mac_of(const VmId& vm);

// The netmask of a prefix length of 0 to 32, in network byte order.
[[nodiscard]] std::uint32_t netmask_of(unsigned prefix);

// What is the same whoever wrote the description: a usable name, an address where there is a NIC, a gateway that can be
// reached from it. Fills in what has a default. Throws understudy::Error.
void complete(VmDescription& description);

}  // namespace understudy::tools
