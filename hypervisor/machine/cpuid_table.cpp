#include "hypervisor/machine/cpuid_table.hpp"

#include <array>
#include <span>

#include "common/digest.hpp"

namespace understudy::machine {
namespace {

// An x86-64-v2 processor (System V ABI, "Micro-architecture levels") that calls itself AuthenticAMD, so that C
// libraries take cache sizes from the plain leaves 0x80000005/6. No RDRAND, no AVX, no XSAVE, one thread. Layout of the
// leaves: AMD64 Architecture Programmer's Manual, volume 3, appendix E.
constexpr std::uint32_t kFeaturesEdx = 0x07898171;  // FPU TSC MSR PAE CX8 CMOV PAT CLFSH MMX FXSR SSE SSE2
constexpr std::uint32_t kFeaturesEcx = 0x80982201;  // SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT, under a hypervisor
constexpr std::uint32_t kExtendedEdx = 0x2c100800;  // SYSCALL NX 1-GiB pages RDTSCP long mode
constexpr std::uint32_t kFamily17h = 0x00800f12;
constexpr std::array kTable = {
    CpuidRow{0x00000000, {0x00000007, 0x68747541, 0x444d4163, 0x69746e65}},  // "AuthenticAMD"
    CpuidRow{0x00000001, {kFamily17h, 0x00010800, kFeaturesEcx, kFeaturesEdx}},
    CpuidRow{0x00000007, {0, 0x00000001, 0, 0}},
    CpuidRow{0x40000000, {0x40000000, 0x65646e55, 0x75747372, 0x4d567964}},  // "UnderstudyVM"
    CpuidRow{0x80000000, {0x80000008, 0x68747541, 0x444d4163, 0x69746e65}},
    CpuidRow{0x80000001, {kFamily17h, 0, 0x00000001, kExtendedEdx}},         // LAHF in 64-bit mode
    CpuidRow{0x80000002, {0x65646e55, 0x75747372, 0x76207964, 0x75747269}},  // "Understudy virtual processor"
    CpuidRow{0x80000003, {0x70206c61, 0x65636f72, 0x726f7373, 0x00000000}},
    CpuidRow{0x80000004, {0, 0, 0, 0}},
    CpuidRow{0x80000005, {0, 0, 0x20080140, 0x40040140}},  // L1: 32 KiB data, 64 KiB code, 64-byte lines
    CpuidRow{0x80000006, {0, 0, 0x02006140, 0x00808140}},  // L2: 512 KiB, L3: 16 MiB
    CpuidRow{0x80000007, {0, 0, 0, 0x00000100}},           // invariant TSC
    CpuidRow{0x80000008, {0x00003030, 0, 0, 0}},           // 48-bit addresses, one thread
};
// RDTSCP is bit 27, long mode bit 29, 1-GiB pages bit 26, NX bit 20, SYSCALL bit 11.
static_assert(kExtendedEdx == (1u << 29 | 1u << 27 | 1u << 26 | 1u << 20 | 1u << 11));
static_assert(kFeaturesEcx == (1u << 31 | 1u << 23 | 1u << 20 | 1u << 19 | 1u << 13 | 1u << 9 | 1u));

}  // namespace

CpuidResult cpuid(std::uint32_t leaf, std::uint32_t /*subleaf*/) {
    for (const CpuidRow& row : kTable) {
        if (row.leaf == leaf) {
            return row.result;
        }
    }
    return {};
}

std::span<const CpuidRow> cpuid_table() {
    return kTable;
}

std::uint64_t cpuid_table_digest() {
    return digest(std::as_bytes(std::span(kTable)));
}

}  // namespace understudy::machine
