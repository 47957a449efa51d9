// The initial file system of a Linux guest: our init (guest/init) and what it is told, as the cpio archive that Linux
// unpacks (format "newc", Documentation/driver-api/early-userspace/buffer-format.rst).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hypervisor/machine/vm_config.hpp"

namespace understudy::machine {

// Appends entries in order; folders before what is in them. Times and owners are zero, so that one content has one
// form.
class CpioArchive {
  public:
    void add_folder(std::string_view path);
    void add_file(std::string_view path, std::span<const std::byte> content, bool executable);
    // The archive, ended.
    [[nodiscard]] std::vector<std::byte> finish() &&;

  private:
    void add(std::string_view path, std::uint32_t mode, std::span<const std::byte> content);
    void pad();

    std::vector<std::byte> bytes_;
    std::uint32_t next_inode_ = 1;
};

// What init reads: see guest/init/settings.hpp.
[[nodiscard]] std::string init_settings(const LinuxConfig& config);

// Throws understudy::Error when config.init cannot be read.
[[nodiscard]] std::vector<std::byte> make_initrd(const LinuxConfig& config);

}  // namespace understudy::machine
