// The tables that put the vCPU into long mode, ring 3: page tables, GDT, IDT, TSS, the SYSCALL stub. They lie below
// abi::kControlBase in supervisor pages, out of the guest's reach.
#pragma once

#include <vector>

#include "guest/abi/abi.hpp"
#include "hypervisor/engine/engine.hpp"
#include "hypervisor/memory/guest_memory.hpp"

namespace understudy::machine {

using memory::GuestAddress;
using memory::GuestMemory;

constexpr Bytes kMaxMemory{std::uint64_t{32} << 30};  // what the page directories have room for

// A table of the ranges that were found to be code, in the platform area so that it survives with guest memory: where
// the code rewriter finds instruction boundaries and jump targets. An instruction starts at each range's begin.
struct CodeRanges {
    static constexpr std::uint64_t kMax = 240;
    static constexpr std::uint64_t kMaxSegments = 4;
    std::uint64_t count;
    abi::Region ranges[kMax];
    // Executable segments of the program: what is code there was decided with the image's help, and stays so.
    std::uint64_t segment_count;
    abi::Region segments[kMaxSegments];
};

// Writes the tables into `memory` (a multiple of x86::kLargePageBytes) and returns where they are. `vectors` is the
// guest kernel's first vector stub.
engine::BootState write_platform(GuestMemory& memory, GuestAddress vectors);

// Makes one 4 KiB page above the first 2 MiB fault on access. Once: there is one page table for it.
void unmap_page(GuestMemory& memory, GuestAddress page);

[[nodiscard]] CodeRanges& code_ranges(GuestMemory& memory);

}  // namespace understudy::machine
