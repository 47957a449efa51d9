#include "tools/vm/vm_description.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <fstream>
#include <span>
#include <system_error>

#include "common/digest.hpp"
#include "common/error.hpp"

namespace understudy::tools {
namespace {

constexpr std::size_t kMaxName = 63;  // it is the guest's host name as well

bool is_name_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_';
}

void check_name(const VmId& name) {
    if (name.empty() || name.size() > kMaxName || !std::ranges::all_of(name, is_name_character) ||
        name.front() == '-' || name.front() == '.') {
        throw Error::format(
            "'{}' is no name for a VM: 1 to {} letters, digits, '-', '_' or '.', and the first a letter, digit or '_'",
            name, kMaxName);
    }
}

void check_environment(const std::vector<std::string>& environment) {
    for (const std::string& entry : environment) {
        const auto equals = entry.find('=');
        if (equals == 0 || equals == std::string::npos) {
            throw Error::format("'{}' is no environment entry: write --env NAME=VALUE", entry);
        }
    }
}

// What `understudy gateway` serves, where nothing else is said.
void assume_gateway_addresses(NetworkDescription& network) {
    if (network.ipv4_address == 0) {
        network.ipv4_address = parse_ipv4("10.0.2.15");
        network.ipv4_netmask = netmask_of(24);
        if (network.ipv4_gateway == 0) {
            network.ipv4_gateway = parse_ipv4("10.0.2.2");
        }
    }
    if (network.nameservers.empty()) {
        network.nameservers = {"10.0.2.3"};
    }
}

void complete_network(const VmId& vm, NetworkDescription& network) {
    if (!network.present()) {
        return;
    }
    if (network.mac == MacAddress{}) {
        network.mac = mac_of(vm);
    }
    if (network.endpoint.starts_with("gateway:")) {
        assume_gateway_addresses(network);
    } else if (network.ipv4_address == 0) {
        if (!network.endpoint.starts_with("tap:")) {
            throw Error::format(
                "'{}' is no network: write gateway:unix:PATH, gateway:HOST:PORT, tap:NAME[,bridge=BRIDGE] or none",
                network.endpoint);
        }
        throw Error::format("VM {} needs an address on {}: add --address ADDRESS/PREFIX", vm, network.endpoint);
    }
    const bool reachable =
        ((network.ipv4_gateway ^ network.ipv4_address) & network.ipv4_netmask) == 0;  // byte order does not matter
    if (network.ipv4_gateway != 0 && !reachable) {
        throw Error::format("the gateway of VM {} is not in the network of its address: check --gateway and --address",
                            vm);
    }
}

// What is next to this executable in a build, or in lib/understudy/ where it is installed.
std::filesystem::path built_with_this(const char* built_name, const char* installed_name) {
    std::error_code ignored;
    const auto folder = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
    const auto installed = folder.parent_path() / "lib/understudy" / installed_name;
    return std::filesystem::exists(installed, ignored) ? installed : folder / built_name;
}

}  // namespace

std::filesystem::path default_kernel_path() {
    return built_with_this("guest-kernel", "guest-kernel");
}

LinuxFiles default_linux_files() {
    const auto folder = built_with_this("guest/linux", "linux");
    return {folder / "vmlinux", folder / "layer", folder / "init", folder / "version"};
}

std::optional<std::string> linux_release(const LinuxFiles& files) {
    std::ifstream in(files.version);
    std::string release;
    if (!(in >> release)) {
        return std::nullopt;
    }
    return release;
}

Bytes parse_size(std::string_view text) {
    std::uint64_t value = 0;
    const char* const last = text.data() + text.size();
    const auto [end, failure] = std::from_chars(text.data(), last, value);
    const std::string_view suffix(end, static_cast<std::size_t>(last - end));
    int shift = -1;
    if (suffix.empty()) {
        shift = 0;
    } else if (suffix == "K" || suffix == "k" || suffix == "KiB") {
        shift = 10;
    } else if (suffix == "M" || suffix == "m" || suffix == "MiB") {
        shift = 20;
    } else if (suffix == "G" || suffix == "g" || suffix == "GiB") {
        shift = 30;
    }
    if (failure != std::errc{} || shift < 0 || value == 0 || std::countl_zero(value) < shift) {
        throw Error::format("'{}' is no size: write a number of bytes, or one with K, M or G, for example 64M", text);
    }
    return Bytes{value << shift};
}

MacAddress parse_mac(std::string_view text) {
    MacAddress mac{};
    const auto complain = [&] {
        return Error::format("'{}' is no MAC address of a NIC: write for example 52:54:00:12:34:56", text);
    };
    if (text.size() != mac.size() * 3 - 1) {
        throw complain();
    }
    for (std::size_t i = 0; i < mac.size(); ++i) {
        const char* const digits = text.data() + 3 * i;
        const auto [end, failure] = std::from_chars(digits, digits + 2, mac.at(i), 16);
        if (failure != std::errc{} || end != digits + 2 || (i + 1 < mac.size() && *end != ':')) {
            throw complain();
        }
    }
    if ((mac[0] & 1U) != 0 || mac == MacAddress{}) {
        throw complain();
    }
    return mac;
}

std::uint32_t parse_ipv4(std::string_view text) {
    in_addr address{};
    if (inet_pton(AF_INET, std::string(text).c_str(), &address) != 1 || address.s_addr == 0) {
        throw Error::format("'{}' is no IPv4 address of a host: write for example 10.0.2.15", text);
    }
    return address.s_addr;
}

MacAddress mac_of(const VmId& vm) {
    const std::uint64_t hash = digest(std::as_bytes(std::span(vm)));
    MacAddress mac{0x52, 0x54, 0x00};
    for (std::size_t i = 0; i < 3; ++i) {
        mac.at(3 + i) = static_cast<std::uint8_t>(hash >> (8 * i));
    }
    return mac;
}

std::uint32_t netmask_of(unsigned prefix) {
    return htonl(prefix == 0 ? 0U : ~0U << (32 - std::min(prefix, 32U)));
}

void complete(VmDescription& description) {
    check_name(description.name);
    check_environment(description.environment);
    complete_network(description.name, description.network);
}

}  // namespace understudy::tools
