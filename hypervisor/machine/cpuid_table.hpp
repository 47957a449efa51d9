// What CPUID and XGETBV answer: one fixed x86-64-v2 processor, the same on every host.
#pragma once

#include <cstdint>
#include <span>

namespace understudy::machine {

struct CpuidResult {
    std::uint32_t eax = 0;
    std::uint32_t ebx = 0;
    std::uint32_t ecx = 0;
    std::uint32_t edx = 0;
};

[[nodiscard]] CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf);

// All of the table: leaves that are not in it answer zero, whatever the subleaf.
struct CpuidRow {
    std::uint32_t leaf;
    CpuidResult result;
};
[[nodiscard]] std::span<const CpuidRow> cpuid_table();

// XCR0: x87 and SSE.
constexpr std::uint64_t kXcr0 = 3;

// Identifies the table in handshakes and log files.
[[nodiscard]] std::uint64_t cpuid_table_digest();

}  // namespace understudy::machine
