#include "hypervisor/machine/initrd.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <array>
#include <bit>
#include <utility>

#include "common/bytes.hpp"
#include "hypervisor/machine/read_file.hpp"

namespace understudy::machine {
namespace {

constexpr std::uint32_t kFolder = 0040755;
constexpr std::uint32_t kFile = 0100644;
constexpr std::uint32_t kExecutable = 0100755;
constexpr std::string_view kTrailer = "TRAILER!!!";

std::string ipv4_text(std::uint32_t address) {
    std::array<char, INET_ADDRSTRLEN> text{};
    inet_ntop(AF_INET, &address, text.data(), text.size());
    return text.data();
}

void append(std::vector<std::byte>& to, std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

void CpioArchive::pad() {
    constexpr std::size_t kAlignment = 4;
    bytes_.resize((bytes_.size() + kAlignment - 1) / kAlignment * kAlignment);
}

void CpioArchive::add(std::string_view path, std::uint32_t mode, std::span<const std::byte> content) {
    const std::uint32_t links = mode == kFolder ? 2 : 1;
    // magic, inode, mode, uid, gid, links, mtime, size, device (4 fields), length of the name with its NUL, checksum
    append(bytes_, fmt::format("070701{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}",
                               next_inode_++, mode, 0, 0, links, 0, content.size(), 0, 0, 0, 0, path.size() + 1, 0));
    append(bytes_, path);
    bytes_.push_back(std::byte{0});
    pad();
    bytes_.insert(bytes_.end(), content.begin(), content.end());
    pad();
}

void CpioArchive::add_folder(std::string_view path) {
    add(path, kFolder, {});
}

void CpioArchive::add_file(std::string_view path, std::span<const std::byte> content, bool executable) {
    add(path, executable ? kExecutable : kFile, content);
}

std::vector<std::byte> CpioArchive::finish() && {
    add(kTrailer, 0, {});
    return std::move(bytes_);
}

std::string init_settings(const LinuxConfig& config) {
    std::string text;
    const auto set = [&](std::string_view name, std::string_view value) {
        text.append(name).append("=").append(value).push_back('\0');
    };
    set("hostname", config.name);
    if (!config.image.empty()) {
        set("image", "/dev/vda");
    }
    if (config.has_network) {
        const NetworkConfig& network = config.network;
        set("address", fmt::format("{}/{}", ipv4_text(network.address), std::popcount(network.netmask)));
        if (network.gateway != 0) {
            set("gateway", ipv4_text(network.gateway));
        }
    }
    for (const std::string& server : config.nameservers) {
        set("nameserver", server);
    }
    for (const std::string& argument : config.arguments) {
        set("argument", argument);
    }
    for (const std::string& entry : config.environment) {
        set("environment", entry);
    }
    return text;
}

std::vector<std::byte> make_initrd(const LinuxConfig& config) {
    const std::vector<std::byte> init = read_file(config.init, "init program of Linux guests");
    const std::string settings = init_settings(config);
    CpioArchive archive;
    for (const char* folder : {"dev", "proc", "sys", "understudy"}) {
        archive.add_folder(folder);
    }
    archive.add_file("init", init, true);
    archive.add_file("understudy/settings", as_bytes(settings), false);
    return std::move(archive).finish();
}

}  // namespace understudy::machine
