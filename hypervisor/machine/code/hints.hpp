// What an ELF image tells of where its code is.
#pragma once

#include "hypervisor/machine/code/finder.hpp"
#include "hypervisor/machine/elf_image.hpp"

namespace understudy::machine {

// For an image that is loaded at its link address plus `bias`.
//
// Certain: the entry and function symbols. Named: symbols without a type in a section of code, the functions of the
// unwind table, and every aligned word of the image that is an address of executable bytes: function pointers, virtual
// tables, jump tables, and the addends of a static-PIE's relocations. Data: objects.
[[nodiscard]] CodeHints code_hints(const ElfImage& image, std::uint64_t bias);

}  // namespace understudy::machine
