// ELF files as small as they can be: a kernel and a layer without code.
#pragma once

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "guest/abi/paravirtual.h"

namespace understudy::machine {

constexpr std::uint64_t kKernelMap = 0xffffffff80000000;
constexpr std::uint64_t kText = kKernelMap + 0x1000000;
constexpr std::uint64_t kPage = 4096;

struct NamedAddress {
    std::string name;
    std::uint64_t address = 0;
};

template <typename T>
void append(std::string& to, const T& value) {
    to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// An executable of one segment with symbols: program header, content, symbols, their names, section headers.
inline std::string elf_file(std::uint64_t address, const std::string& content,
                            const std::vector<NamedAddress>& symbols) {
    std::string names(1, '\0');
    std::string table;
    append(table, Elf64_Sym{});
    for (const NamedAddress& symbol : symbols) {
        Elf64_Sym entry{};
        entry.st_name = static_cast<Elf64_Word>(names.size());
        entry.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT);
        entry.st_shndx = SHN_ABS;
        entry.st_value = symbol.address;
        append(table, entry);
        names += symbol.name + '\0';
    }
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 1;
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = 3;
    Elf64_Phdr segment{};
    segment.p_type = PT_LOAD;
    segment.p_offset = sizeof header + sizeof segment;
    segment.p_vaddr = address;
    segment.p_filesz = segment.p_memsz = content.size();
    Elf64_Shdr symbol_section{};
    symbol_section.sh_type = SHT_SYMTAB;
    symbol_section.sh_offset = segment.p_offset + content.size();
    symbol_section.sh_size = table.size();
    symbol_section.sh_link = 2;
    Elf64_Shdr name_section{};
    name_section.sh_type = SHT_STRTAB;
    name_section.sh_offset = symbol_section.sh_offset + table.size();
    name_section.sh_size = names.size();
    header.e_shoff = name_section.sh_offset + names.size();
    std::string file;
    append(file, header);
    append(file, segment);
    file += content + table + names;
    append(file, Elf64_Shdr{});
    append(file, symbol_section);
    append(file, name_section);
    return file;
}

// A kernel that load_linux() takes.
inline std::string kernel_file(std::uint64_t at = kText, std::uint64_t control = kText + kPage) {
    return elf_file(at, std::string(3 * kPage, 'k'), {{"startup_xen", kText + 64}, {"understudy_control", control}});
}

// A paravirtual layer.
inline std::string layer_file(std::uint32_t version, std::size_t size = kPage) {
    understudy_layer head{};
    head.magic = UNDERSTUDY_LAYER_MAGIC;
    head.version = version;
    head.start = UNDERSTUDY_LAYER_ADDRESS + 0x500;
    std::string content;
    append(content, head);
    content.resize(size, 'l');
    return elf_file(UNDERSTUDY_LAYER_ADDRESS, content, {});
}

}  // namespace understudy::machine
