// A copy of a guest's memory as it is before its first instruction, in that memory itself, behind all that the guest
// knows of: a guest that is to be restarted when it asks for a reboot starts from it again, on whichever host it is by
// then, without any file. Pages that are zero are left out.
#pragma once

#include <cstdint>

#include "hypervisor/machine/linux_image.hpp"
#include "hypervisor/memory/guest_memory.hpp"

namespace understudy::machine {

// What it takes at the most. Only what is used of it is ever touched.
[[nodiscard]] Bytes boot_copy_bytes(const LoadedLinux& linux);

// Copies what lies below `at` to there, and returns a digest of the copy.
[[nodiscard]] std::uint64_t keep_boot_copy(memory::GuestMemory& memory, std::uint64_t at);

// Makes all below `at` what it was. False, and nothing is changed: the copy is not the one with that digest; nothing
// keeps the guest from writing to it.
[[nodiscard]] bool restore_boot_copy(memory::GuestMemory& memory, std::uint64_t at, std::uint64_t digest);

}  // namespace understudy::machine
