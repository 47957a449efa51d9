// Lays out guest memory for its first instruction: platform tables, guest kernel, program, arguments, rings.
#pragma once

#include "guest/abi/abi.hpp"
#include "hypervisor/engine/engine.hpp"
#include "hypervisor/machine/elf_image.hpp"
#include "hypervisor/machine/vm_config.hpp"
#include "hypervisor/memory/guest_memory.hpp"

namespace understudy::machine {

using memory::GuestAddress;
using memory::GuestMemory;

// What the monitor itself must remember of a guest. It lies in guest memory, in a supervisor page out of the guest's
// reach, so that state transfer and memory digests cover it.
struct MonitorState {
    std::uint64_t stop_number;
    std::uint64_t instruction_count;  // at the last stop
    std::uint64_t trampoline_used;    // bytes from abi::kTrampolineBase
    abi::Region receive_ring;
    abi::Region transmit_ring;
    abi::Region console_ring;
};
[[nodiscard]] MonitorState& monitor_state(GuestMemory& memory);
[[nodiscard]] abi::Control& control(GuestMemory& memory);

// A config whose files were read and checked, and whose memory is known to suffice.
struct LoadedVm {
    VmConfig config;
    ElfImage kernel;
    ElfImage program;
    std::vector<std::byte> root_archive;
};

// Reads the files. Throws understudy::Error: not a static ELF, memory too small for it (with the size that would do),
// arguments too long.
[[nodiscard]] LoadedVm load_vm(const VmConfig& config);

// Writes everything into `memory` (of the config's size, all zero) and returns the vCPU's first state.
engine::BootState write_boot_image(const LoadedVm& vm, GuestMemory& memory);

}  // namespace understudy::machine
