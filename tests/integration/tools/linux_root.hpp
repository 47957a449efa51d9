// The smallest root of a Linux guest: a static busybox under the names that tests call, as an image.
#pragma once

#include <elf.h>
#include <fmt/format.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools::testing {

class LinuxRoot {
  public:
    // Why it cannot be made here; empty: it can.
    static std::string missing() {
        for (const auto& [command, package] : {std::pair{"busybox", "busybox-static"}, {"mkfs.erofs", "erofs-utils"}}) {
            if (run_to_end({"sh", "-c", fmt::format("command -v {}", command)}).exit_status != 0) {
                return fmt::format("no {}: apt-get install {}", command, package);
            }
        }
        if (!std::filesystem::exists(UNDERSTUDY_BINARY_DIR "/guest/linux/vmlinux")) {
            return "no kernel for Linux guests: build the target guest-linux";
        }
        return "";
    }

    LinuxRoot() {
        const auto bin = directory_.path() / "root/bin";
        std::filesystem::create_directories(bin);
        std::filesystem::create_directories(directory_.path() / "root/sbin");
        std::filesystem::create_directories(directory_.path() / "root/etc");
        std::ofstream(bin / "foreign", std::ios::binary) << foreign_program();
        std::filesystem::permissions(bin / "foreign", std::filesystem::perms(0755));
        const Finished made = run_to_end(
            {.command = {"sh", "-ec",
                         "cp $(command -v busybox) root/bin/busybox\n"
                         "for name in sh cat cp date dd echo env poweroff reboot rm sleep stty true; do ln -s busybox "
                         "root/bin/$name; done\n"
                         "printf '#!/bin/sh\\necho init \"$@\"\\nexec poweroff -f\\n' > root/sbin/init\n"
                         "chmod 755 root/sbin/init\n"
                         "tar -cf root.tar -C root .\n"
                         "exec " UNDERSTUDY_BINARY_DIR "/understudy image --from-tar root.tar -o root.img"},
             .directory = directory_.path(),
             .environment = {"XDG_CACHE_HOME=" + (directory_.path() / "cache").string()}});
        if (made.exit_status != 0) {
            throw Error(made.errors);
        }
    }

    [[nodiscard]] std::filesystem::path directory() const { return directory_.path(); }
    [[nodiscard]] std::filesystem::path image() const { return directory_.path() / "root.img"; }

  private:
    // The head of a program for aarch64.
    static std::string foreign_program() {
        Elf64_Ehdr header{};
        std::memcpy(header.e_ident, ELFMAG, SELFMAG);
        header.e_ident[EI_CLASS] = ELFCLASS64;
        header.e_ident[EI_DATA] = ELFDATA2LSB;
        header.e_ident[EI_VERSION] = EV_CURRENT;
        header.e_type = ET_EXEC;
        header.e_machine = EM_AARCH64;
        header.e_version = EV_CURRENT;
        header.e_ehsize = sizeof header;
        return {reinterpret_cast<const char*>(&header), sizeof header};
    }

    TemporaryDirectory directory_{"understudy-linux-root"};
};

}  // namespace understudy::tools::testing
