// The files that a Linux guest starts from, as small as they can be: an ELF kernel and an ELF layer without code.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "common/temporary_directory.hpp"
#include "hypervisor/machine/linux_image.hpp"
#include "tests/unit/hypervisor/machine/elf_file.hpp"

namespace understudy::machine {

class LinuxImageFiles : public testing::Test {
  protected:
    LinuxImageFiles() {
        config_.memory = 64_MiB;
        config_.kernel = write("vmlinux", kernel_file());
        config_.layer = write("layer", layer_file(UNDERSTUDY_PV_VERSION));
        config_.initrd = write("initrd", std::string(3 * kPage + 1, 'i'));
    }

    std::string write(const std::string& name, const std::string& content) {
        const auto path = folder_.path() / name;
        std::ofstream(path, std::ios::binary) << content;
        return path.string();
    }

    const TemporaryDirectory folder_;
    LinuxConfig config_;
};

}  // namespace understudy::machine
