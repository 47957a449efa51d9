#include "hypervisor/machine/platform.hpp"

#include <algorithm>
#include <array>
#include <cstring>

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

constexpr std::uint64_t kPresent = 1;
constexpr std::uint64_t kWritable = 2;
constexpr std::uint64_t kUser = 4;
constexpr std::uint64_t kAccessedDirty = 0x60;
constexpr std::uint64_t kLarge = 0x80;
constexpr std::uint64_t kPageSize = 4096;
constexpr std::uint64_t kEntries = 512;

constexpr std::uint16_t kStubSelector = 0x10;
constexpr std::uint16_t kTssSelector = 0x40;
// A task segment whose I/O bitmap permits ports 0 to 255: some KVM flavours look there, others at IOPL.
constexpr std::uint16_t kTssBitmap = 104;
constexpr std::uint16_t kTssSize = kTssBitmap + 256 / 8 + 2;
static_assert(sizeof(CodeRanges) <= kPageSize);

void write_page_tables(GuestMemory& memory) {
    const std::uint64_t user = kPresent | kWritable | kUser | kAccessedDirty;
    memory.at<std::uint64_t>(kPml4) = kPdpt.value | user;
    const std::uint64_t large_pages = memory.size().value / kLargePage;
    for (std::uint64_t page = 0; page < large_pages; ++page) {
        const GuestAddress directory = kPageDirectories + page / kEntries * kPageSize;
        if (page % kEntries == 0) {
            memory.at<std::uint64_t>(kPdpt + page / kEntries * 8) = directory.value | user;
        }
        memory.at<std::uint64_t>(directory + page % kEntries * 8) = page * kLargePage | user | kLarge;
    }
    memory.at<std::uint64_t>(kPageDirectories) = kFirstPageTable.value | user;
    for (std::uint64_t page = 1; page < kEntries; ++page) {  // page 0 stays unmapped: a null pointer faults
        const std::uint64_t address = page * kPageSize;
        // The stub is a read-only user page: some KVM flavours fetch ring-0 code through user mappings only.
        const std::uint64_t flags = address == kSyscallStub.value ? user & ~kWritable
                                    : address < abi::kControlBase ? user & ~kUser
                                                                  : user;
        memory.at<std::uint64_t>(kFirstPageTable + page * 8) = address | flags;
    }
}

void write_descriptors(GuestMemory& memory, GuestAddress vectors) {
    std::array<std::uint64_t, 10> gdt{};
    gdt[kStubSelector / 8] = 0x00af9b000000ffff;      // ring-0 code, for the SYSCALL stub
    gdt[kStubSelector / 8 + 1] = 0x00cf93000000ffff;  // ring-0 data
    gdt[abi::kDataSelector / 8] = 0x00cff3000000ffff;
    gdt[abi::kCodeSelector / 8] = 0x00affb000000ffff;
    gdt[kTssSelector / 8] = 0x0000890000000000 | (kTssSize - 1) | kTss.value << 16;
    memory.at<decltype(gdt)>(kGdt) = gdt;

    for (std::uint64_t vector = 0; vector < 256; ++vector) {
        const std::uint64_t stub = vectors.value + vector * abi::kVectorStubSize;
        constexpr std::uint64_t kRing3InterruptGate = 0xee;
        const std::array<std::uint64_t, 2> gate = {(stub & 0xffff) | std::uint64_t{abi::kCodeSelector} << 16 |
                                                       kRing3InterruptGate << 40 | (stub >> 16 & 0xffff) << 48,
                                                   stub >> 32};
        memory.at<std::array<std::uint64_t, 2>>(kIdt + vector * sizeof gate) = gate;
    }
    memory.at<std::uint16_t>(kTss + 102) = kTssBitmap;
    memory.at<std::uint16_t>(kTss + (kTssSize - 2)) = 0xffff;  // the bitmap's end
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
    boot.tss_size = kTssSize - 1;
    boot.syscall_stub = kSyscallStub.value;
    boot.syscall_stub_selector = kStubSelector;
    boot.code_selector = abi::kCodeSelector;
    boot.data_selector = abi::kDataSelector;
    boot.registers.rflags = engine::kInitialRflags;
    return boot;
}

void unmap_page(GuestMemory& memory, GuestAddress page) {
    const std::uint64_t large = page.value / kLargePage;
    for (std::uint64_t i = 0; i < kEntries; ++i) {
        const std::uint64_t address = large * kLargePage + i * kPageSize;
        const std::uint64_t flags = kPresent | kWritable | kUser | kAccessedDirty;
        memory.at<std::uint64_t>(kGuardPageTable + i * 8) = address == page.value ? 0 : address | flags;
    }
    memory.at<std::uint64_t>(kPageDirectories + large * 8) =
        kGuardPageTable.value | kPresent | kWritable | kUser | kAccessedDirty;
}

CodeRanges& code_ranges(GuestMemory& memory) {
    return memory.at<CodeRanges>(kCodeRanges);
}

}  // namespace understudy::machine
