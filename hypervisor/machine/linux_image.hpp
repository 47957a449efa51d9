// Lays out guest memory for a Linux guest's first instruction: the kernel (guest/linux), its initial file system, the
// paravirtual layer (guest/pv), and what Xen's PV interface has a guest find when it starts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "guest/abi/paravirtual.h"
#include "hypervisor/engine/engine.hpp"
#include "hypervisor/machine/elf_image.hpp"
#include "hypervisor/machine/vm_config.hpp"
#include "hypervisor/memory/guest_memory.hpp"

namespace understudy::machine {

// A config whose files were read and checked, and whose memory is known to suffice.
struct LoadedLinux {
    LinuxConfig config;
    ElfImage kernel;
    ElfImage layer;
    std::vector<std::byte> initrd;
};

// Reads the files. Throws understudy::Error: a kernel without the overlay or of another version of the layer, an image
// of another architecture, memory too small for them (with the size that would do), a command line that is too long.
[[nodiscard]] LoadedLinux load_linux(const LinuxConfig& config);

// What guest memory has to hold for `ram` of the kernel's: the layer and its table too.
[[nodiscard]] Bytes whole_memory(Bytes ram);

// At most so much of it is not zero before the first instruction.
[[nodiscard]] Bytes boot_bytes(const LoadedLinux& linux);

// Where things are in a guest's memory that the monitor looks at; all of it outside the guest's reach.
struct LinuxPlaces {
    std::uint64_t ram = 0;      // bytes; the layer's region follows
    std::uint64_t control = 0;  // physical address of the control page
};
[[nodiscard]] LinuxPlaces places_of(const LoadedLinux& linux);

// Writes everything into `memory` (whole_memory() or more, all zero) and returns the vCPU's first state.
engine::BootState write_linux_image(const LoadedLinux& linux, memory::GuestMemory& memory);

// The vCPU's tables, without the page tables: what a machine whose state comes from elsewhere starts from.
[[nodiscard]] engine::BootState linux_boot_state(std::uint64_t syscall_stub = 0);

}  // namespace understudy::machine
