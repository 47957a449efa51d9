#include "hypervisor/machine/platform.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "hypervisor/engine/x86.hpp"

namespace understudy::machine {
namespace {

// Where the tables lie. One page table maps the first 2 MiB by 4 KiB pages (the null page, supervisor pages); large
// pages map the rest.
constexpr GuestAddress kPml4{0x1000};
constexpr GuestAddress kPdpt{0x2000};
constexpr GuestAddress kFirstPageTable{0x3000};
constexpr GuestAddress kGdt{0x4000};
constexpr GuestAddress kIdt{0x5000};
constexpr GuestAddress kTss{0x6000};
constexpr GuestAddress kSyscallStub{0x8000};
constexpr GuestAddress kCodeRanges{0x9000};
constexpr GuestAddress kGuardPageTable{0xb000};
constexpr GuestAddress kPageDirectories{0x10000};  // one page for each GiB, up to 32

// Accessed and dirty from the start: the processor never writes them, whatever it does.
constexpr std::uint64_t kUserPage = x86::kPresent | x86::kWritable | x86::kUser | x86::kAccessed | x86::kDirty;

constexpr std::uint16_t kStubSelector = 0x10;
constexpr std::uint16_t kTssSelector = 0x40;
static_assert(sizeof(CodeRanges) <= x86::kPageBytes);

void write_page_tables(GuestMemory& memory) {
    const std::uint64_t user = kUserPage;
    memory.at<std::uint64_t>(kPml4) = kPdpt.value | user;
    const std::uint64_t large_pages = memory.size().value / x86::kLargePageBytes;
    for (std::uint64_t page = 0; page < large_pages; ++page) {
        const GuestAddress directory = kPageDirectories + page / x86::kEntriesPerTable * x86::kPageBytes;
        if (page % x86::kEntriesPerTable == 0) {
            memory.at<std::uint64_t>(kPdpt + page / x86::kEntriesPerTable * 8) = directory.value | user;
        }
        memory.at<std::uint64_t>(directory + page % x86::kEntriesPerTable * 8) =
            page * x86::kLargePageBytes | user | x86::kLarge;
    }
    memory.at<std::uint64_t>(kPageDirectories) = kFirstPageTable.value | user;
    for (std::uint64_t page = 1; page < x86::kEntriesPerTable;
         ++page) {  // page 0 stays unmapped: a null pointer faults
        const std::uint64_t address = page * x86::kPageBytes;
        // The stub is a read-only user page: some KVM flavours fetch ring-0 code through user mappings only.
        const std::uint64_t flags = address == kSyscallStub.value ? user & ~x86::kWritable
                                    : address < abi::kControlBase ? user & ~x86::kUser
                                                                  : user;
        memory.at<std::uint64_t>(kFirstPageTable + page * 8) = address | flags;
    }
}

void write_descriptors(GuestMemory& memory, GuestAddress vectors) {
    std::array<std::uint64_t, 10> gdt{};
    gdt[kStubSelector / 8] = x86::code_segment(0).encoded();  // for the SYSCALL stub
    gdt[kStubSelector / 8 + 1] = x86::data_segment(0).encoded();
    gdt[abi::kDataSelector / 8] = x86::data_segment(3).encoded();
    gdt[abi::kCodeSelector / 8] = x86::code_segment(3).encoded();
    const x86::SegmentDescriptor tss{
        .base = kTss.value, .limit = x86::kTssBytes - 1, .type = x86::kAvailableTss, .code_or_data = false};
    gdt[kTssSelector / 8] = tss.encoded();
    memory.at<decltype(gdt)>(kGdt) = gdt;

    for (std::uint64_t vector = 0; vector < 256; ++vector) {
        const std::uint64_t stub = vectors.value + vector * abi::kVectorStubSize;
        constexpr std::uint64_t kRing3TrapGate = 0xef;  // interrupts stay on: ring 3 could not turn them on again
        const std::array<std::uint64_t, 2> gate = {(stub & 0xffff) | std::uint64_t{abi::kCodeSelector} << 16 |
                                                       kRing3TrapGate << 40 | (stub >> 16 & 0xffff) << 48,
                                                   stub >> 32};
        memory.at<std::array<std::uint64_t, 2>>(kIdt + vector * sizeof gate) = gate;
    }
    memory.at<std::uint16_t>(kTss + x86::kTssBitmapPointer) = x86::kTssBitmap;
    memory.at<std::uint8_t>(kTss + (x86::kTssBytes - 1)) = 0xff;
    // out kPortSyscall, eax; hlt. The monitor never lets it get past the OUT.
    memory.at<std::array<std::uint8_t, 3>>(kSyscallStub) = {0xe7, abi::kPortSyscall, 0xf4};
}

}  // namespace

engine::BootState write_platform(GuestMemory& memory, GuestAddress vectors) {
    write_page_tables(memory);
    write_descriptors(memory, vectors);
    engine::BootState boot;
    boot.page_table = kPml4.value;
    boot.gdt = kGdt.value;
    boot.gdt_size = 10 * 8 - 1;
    boot.idt = kIdt.value;
    boot.idt_size = 256 * 16 - 1;
    boot.tss = kTss.value;
    boot.tss_selector = kTssSelector;
    boot.tss_size = x86::kTssBytes - 1;
    boot.syscall_stub = kSyscallStub.value;
    boot.syscall_stub_selector = kStubSelector;
    boot.code_selector = abi::kCodeSelector;
    boot.data_selector = abi::kDataSelector;
    boot.registers.rflags = engine::kInitialRflags;
    return boot;
}

void unmap_page(GuestMemory& memory, GuestAddress page) {
    const std::uint64_t large = page.value / x86::kLargePageBytes;
    for (std::uint64_t i = 0; i < x86::kEntriesPerTable; ++i) {
        const std::uint64_t address = large * x86::kLargePageBytes + i * x86::kPageBytes;
        memory.at<std::uint64_t>(kGuardPageTable + i * 8) = address == page.value ? 0 : address | kUserPage;
    }
    memory.at<std::uint64_t>(kPageDirectories + large * 8) = kGuardPageTable.value | kUserPage;
}

CodeRanges& code_ranges(GuestMemory& memory) {
    return memory.at<CodeRanges>(kCodeRanges);
}

}  // namespace understudy::machine
