// What lies where in a Linux guest's physical memory, for people.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "hypervisor/machine/linux_image.hpp"

namespace understudy::tools {

class Places {
  public:
    explicit Places(machine::LoadedLinux linux);
    // "the layer's exception_stack_top-0x80", "the kernel's jiffies", "RAM".
    [[nodiscard]] std::string describe(std::uint64_t physical) const;

  private:
    machine::LoadedLinux linux_;
    std::uint64_t ram_;
};

// 16 bytes a line.
[[nodiscard]] std::string hexadecimal(std::span<const std::byte> bytes);

}  // namespace understudy::tools
