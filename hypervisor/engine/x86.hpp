// Bits of the processor's control registers, descriptors and page tables, by the names of Intel's manual (SDM volume 3:
// 2.5 for control registers, 2.2.1 for EFER, 3.4.5 for segment descriptors, 4.5 for page tables).
#pragma once

#include <cstdint>

#include "common/units.hpp"

namespace understudy::x86 {

enum Cr0 : std::uint64_t {
    kCr0ProtectionEnable = 1u << 0,
    kCr0MonitorCoprocessor = 1u << 1,
    kCr0ExtensionType = 1u << 4,
    kCr0NumericError = 1u << 5,
    kCr0WriteProtect = 1u << 16,
    kCr0Paging = 1u << 31,
};

enum Cr4 : std::uint64_t {
    kCr4TimeStampDisable = 1u << 2,
    kCr4PageSizeExtensions = 1u << 4,
    kCr4PhysicalAddressExtension = 1u << 5,
    kCr4PageGlobalEnable = 1u << 7,
    kCr4OsFxsr = 1u << 9,
    kCr4OsXmmExceptions = 1u << 10,
    kCr4FsGsBase = 1u << 16,
};

enum Efer : std::uint64_t {
    kEferSyscall = 1u << 0,
    kEferLongModeEnable = 1u << 8,
    kEferLongModeActive = 1u << 10,
    kEferNoExecuteEnable = 1u << 11,
};

enum Flags : std::uint64_t {
    kFlagCarry = 1u << 0,
    kFlagAlwaysOne = 1u << 1,
    kFlagParity = 1u << 2,
    kFlagAuxiliaryCarry = 1u << 4,
    kFlagZero = 1u << 6,
    kFlagSign = 1u << 7,
    kFlagTrap = 1u << 8,
    kFlagInterrupt = 1u << 9,
    kFlagDirection = 1u << 10,
    kFlagOverflow = 1u << 11,
    kFlagNestedTask = 1u << 14,
};
constexpr std::uint64_t kArithmeticFlags =
    kFlagCarry | kFlagParity | kFlagAuxiliaryCarry | kFlagZero | kFlagSign | kFlagOverflow;

enum Msr : std::uint32_t {
    kMsrStar = 0xc0000081,
    kMsrLstar = 0xc0000082,
    kMsrSyscallMask = 0xc0000084,
};

// --- Segment descriptors -----------------------------------------------------------------------------------------
enum SegmentType : std::uint8_t {
    kDataReadWriteAccessed = 3,
    kCodeExecuteReadAccessed = 11,
    kAvailableTss = 9,
    kBusyTss = 11,
};

// A 64-bit task segment ends in a bitmap of ports that ring 3 may use: clear bits, and a byte of ones behind.
constexpr std::uint16_t kTssBitmapPointer = 102;
constexpr std::uint16_t kTssBitmap = 104;
constexpr std::uint16_t kTssPorts = 256;
constexpr std::uint16_t kTssBytes = kTssBitmap + kTssPorts / 8 + 1;

struct SegmentDescriptor {
    std::uint64_t base = 0;
    std::uint32_t limit = 0;   // 20 bits
    std::uint8_t type = 0;     // SegmentType
    bool code_or_data = true;  // false: a system segment
    std::uint8_t privilege = 0;
    bool long_code = false;
    bool default_32_bit = false;
    bool page_granular = false;

    // The first eight bytes as they stand in a GDT; a system segment's base above 32 bits follows in the next eight.
    [[nodiscard]] constexpr std::uint64_t encoded() const {
        constexpr std::uint64_t kPresent = 1;
        return (limit & 0xffffu) | (base & 0xffffff) << 16 | std::uint64_t{type} << 40 |
               std::uint64_t{code_or_data} << 44 | std::uint64_t{privilege} << 45 | kPresent << 47 |
               (std::uint64_t{limit} >> 16 & 0xf) << 48 | std::uint64_t{long_code} << 53 |
               std::uint64_t{default_32_bit} << 54 | std::uint64_t{page_granular} << 55 | (base >> 24 & 0xff) << 56;
    }
};

constexpr SegmentDescriptor code_segment(std::uint8_t privilege) {
    return {.limit = 0xfffff,
            .type = kCodeExecuteReadAccessed,
            .privilege = privilege,
            .long_code = true,
            .page_granular = true};
}
constexpr SegmentDescriptor data_segment(std::uint8_t privilege) {
    return {.limit = 0xfffff,
            .type = kDataReadWriteAccessed,
            .privilege = privilege,
            .default_32_bit = true,
            .page_granular = true};
}

// --- Page tables -------------------------------------------------------------------------------------------------
enum PageTableEntry : std::uint64_t {
    kPresent = 1u << 0,
    kWritable = 1u << 1,
    kUser = 1u << 2,
    kAccessed = 1u << 5,
    kDirty = 1u << 6,
    kLarge = 1u << 7,
};
using understudy::kPageBytes;
constexpr std::uint64_t kLargePageBytes = 2u << 20;
constexpr std::uint64_t kEntriesPerTable = 512;

}  // namespace understudy::x86
