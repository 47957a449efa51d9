// A static x86-64 ELF executable, read from a file and checked: segments, entry, symbols.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hypervisor/memory/guest_memory.hpp"

namespace understudy::machine {

using memory::GuestAddress;
using memory::GuestMemory;

struct Segment {
    std::uint64_t address = 0;  // before any load bias
    std::uint64_t memory_size = 0;
    std::vector<std::byte> bytes;  // the rest of memory_size is zero
    bool executable = false;
};

enum class SymbolKind { untyped, function, object };

struct Symbol {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    std::uint32_t name = 0;  // see ElfImage::name_of()
    SymbolKind kind = SymbolKind::untyped;
};

struct Section {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
};

struct ElfImage {
    std::string path;
    bool position_independent = false;  // ET_DYN without an interpreter: a static-PIE
    std::uint64_t entry = 0;
    std::uint64_t program_headers = 0;  // address of the program headers in memory, 0 when not loaded
    std::uint64_t program_header_count = 0;
    std::vector<Segment> segments;       // ascending
    std::vector<Symbol> symbols;         // in no order; none in a stripped program
    std::string symbol_names;            // one after the other, a zero byte behind each
    std::vector<Section> code_sections;  // those of instructions; none where the section headers were stripped
    std::uint64_t unwind_table = 0;      // address of .eh_frame_hdr, which stripping leaves; 0 when there is none

    [[nodiscard]] std::uint64_t lowest() const { return segments.front().address; }
    [[nodiscard]] std::uint64_t highest() const { return segments.back().address + segments.back().memory_size; }
    [[nodiscard]] std::string_view name_of(const Symbol& symbol) const;
    [[nodiscard]] std::optional<std::uint64_t> find(std::string_view symbol) const;
    // "name+0x12" of the function that covers `address`.
    [[nodiscard]] std::optional<std::string> describe(std::uint64_t address) const;
};

// Throws understudy::Error that names the file and what it is instead: missing, a script, another architecture,
// dynamically linked (with the advice to link with -static), truncated.
[[nodiscard]] ElfImage read_elf(const std::string& path);

}  // namespace understudy::machine
