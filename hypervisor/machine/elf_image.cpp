#include "hypervisor/machine/elf_image.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

namespace understudy::machine {
namespace {

constexpr std::uint64_t kMaxFile = std::uint64_t{1} << 30;
constexpr std::uint64_t kMaxSymbols = 1u << 20;
constexpr std::uint64_t kMaxMemoryImage = std::uint64_t{1} << 36;

// The file's bytes with checked access: a header that points outside is a truncated or corrupt file.
class File {
  public:
    explicit File(const std::string& path) : path_(path) {
        std::ifstream in(path, std::ios::binary | std::ios::ate);
        struct stat status {};
        if (::stat(path.c_str(), &status) != 0) {
            throw Error::from_errno(fmt::format("cannot read program {}", path), errno);
        }
        if (!S_ISREG(status.st_mode)) {
            throw Error::format("{} is not a regular file; name a static x86-64 ELF executable", path);
        }
        if (!in) {
            throw Error::format("cannot read program {}; check its permissions", path);
        }
        if (static_cast<std::uint64_t>(status.st_size) > kMaxFile) {
            throw Error::format("{} is larger than 1 GiB", path);
        }
        bytes_.resize(static_cast<std::size_t>(status.st_size));
        in.seekg(0);
        in.read(reinterpret_cast<char*>(bytes_.data()), static_cast<std::streamsize>(bytes_.size()));
    }

    [[nodiscard]] std::span<const std::byte> range(std::uint64_t offset, std::uint64_t size) const {
        if (offset > bytes_.size() || size > bytes_.size() - offset) {
            throw Error::format("{} is truncated or damaged: it refers to byte {} of {}", path_, offset + size,
                                bytes_.size());
        }
        return std::span(bytes_).subspan(offset, size);
    }
    template <typename T>
    [[nodiscard]] T read(std::uint64_t offset) const {
        T value;
        std::memcpy(&value, range(offset, sizeof(T)).data(), sizeof value);
        return value;
    }
    [[nodiscard]] std::string_view text(std::uint64_t offset, std::uint64_t limit) const {
        if (offset >= limit || limit > bytes_.size()) {
            return {};
        }
        const auto* start = reinterpret_cast<const char*>(bytes_.data()) + offset;
        return {start, ::strnlen(start, limit - offset)};
    }
    [[nodiscard]] std::uint64_t size() const { return bytes_.size(); }

  private:
    std::string path_;
    std::vector<std::byte> bytes_;
};

Elf64_Ehdr check_header(const File& file, const std::string& path) {
    if (file.size() < sizeof(Elf64_Ehdr)) {
        throw Error::format("{} is not a static x86-64 ELF executable: too short", path);
    }
    const auto header = file.read<Elf64_Ehdr>(0);
    const char* wrong = nullptr;
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
        wrong = "not an ELF file";
    } else if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64) {
        wrong = "built for another architecture";
    } else if (header.e_type != ET_EXEC && header.e_type != ET_DYN) {
        wrong = "an object or core file";
    } else if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0) {
        wrong = "without program headers";
    }
    if (wrong != nullptr) {
        throw Error::format("{} is not a static x86-64 ELF executable: it is {}; link a program with -static", path,
                            wrong);
    }
    return header;
}

void read_segments(const File& file, const Elf64_Ehdr& header, ElfImage& image) {
    for (unsigned i = 0; i < header.e_phnum; ++i) {
        const auto program = file.read<Elf64_Phdr>(header.e_phoff + i * sizeof(Elf64_Phdr));
        if (program.p_type == PT_INTERP) {
            throw Error::format("{} is dynamically linked; link it with -static", image.path);
        }
        if (program.p_type == PT_GNU_EH_FRAME) {
            image.unwind_table = program.p_vaddr;
        }
        if (program.p_type != PT_LOAD || program.p_memsz == 0) {
            continue;
        }
        if (program.p_filesz > program.p_memsz || program.p_memsz > kMaxMemoryImage ||
            program.p_vaddr + program.p_memsz < program.p_vaddr) {
            throw Error::format("{} is damaged: program header {} has impossible sizes or addresses", image.path, i);
        }
        const auto bytes = file.range(program.p_offset, program.p_filesz);
        image.segments.push_back(
            {program.p_vaddr, program.p_memsz, {bytes.begin(), bytes.end()}, (program.p_flags & PF_X) != 0});
        if (header.e_phoff >= program.p_offset && header.e_phoff < program.p_offset + program.p_filesz) {
            image.program_headers = program.p_vaddr + header.e_phoff - program.p_offset;
        }
    }
    if (image.segments.empty()) {
        throw Error::format("{} has nothing to load", image.path);
    }
    std::sort(image.segments.begin(), image.segments.end(),
              [](const Segment& a, const Segment& b) { return a.address < b.address; });
    for (std::size_t i = 1; i < image.segments.size(); ++i) {
        if (image.segments[i - 1].address + image.segments[i - 1].memory_size > image.segments[i].address) {
            throw Error::format("{} is damaged: its segments overlap", image.path);
        }
    }
}

SymbolKind kind_of(unsigned type) {
    return type == STT_FUNC || type == STT_GNU_IFUNC ? SymbolKind::function
           : type == STT_OBJECT                      ? SymbolKind::object
                                                     : SymbolKind::untyped;
}

// Symbols and sections serve reports and the search for code, which does without: a file whose tables are damaged loses
// them, no more.
void read_symbols(const File& file, const Elf64_Ehdr& header, ElfImage& image) try {
    for (unsigned i = 0; i < header.e_shnum; ++i) {
        const auto section = file.read<Elf64_Shdr>(header.e_shoff + i * sizeof(Elf64_Shdr));
        if ((section.sh_flags & SHF_EXECINSTR) != 0 && section.sh_type == SHT_PROGBITS) {
            image.code_sections.push_back({section.sh_addr, section.sh_size});
        }
        if (section.sh_type != SHT_SYMTAB || section.sh_link >= header.e_shnum) {
            continue;
        }
        const auto strings = file.read<Elf64_Shdr>(header.e_shoff + section.sh_link * sizeof(Elf64_Shdr));
        const std::uint64_t count = std::min(section.sh_size / sizeof(Elf64_Sym), kMaxSymbols);
        for (std::uint64_t s = 0; s < count; ++s) {
            const auto symbol = file.read<Elf64_Sym>(section.sh_offset + s * sizeof(Elf64_Sym));
            const auto type = ELF64_ST_TYPE(symbol.st_info);
            if (symbol.st_shndx == SHN_UNDEF ||
                (type != STT_FUNC && type != STT_OBJECT && type != STT_NOTYPE && type != STT_GNU_IFUNC)) {
                continue;
            }
            const auto name = file.text(strings.sh_offset + symbol.st_name, strings.sh_offset + strings.sh_size);
            if (!name.empty()) {
                image.symbols.push_back({symbol.st_value, symbol.st_size, std::string(name), kind_of(type)});
            }
        }
    }
    std::stable_sort(image.symbols.begin(), image.symbols.end(),
                     [](const Symbol& a, const Symbol& b) { return a.address < b.address; });
} catch (const Error&) {
    image.symbols.clear();
    image.code_sections.clear();
}

}  // namespace

std::optional<std::uint64_t> ElfImage::find(const std::string& symbol) const {
    const auto found =
        std::find_if(symbols.begin(), symbols.end(), [&](const Symbol& candidate) { return candidate.name == symbol; });
    return found == symbols.end() ? std::nullopt : std::optional(found->address);
}

std::optional<std::string> ElfImage::describe(std::uint64_t address) const {
    const auto covers = [&](const Segment& segment) {
        return address >= segment.address && address - segment.address < segment.memory_size;
    };
    const auto segment = std::ranges::find_if(segments, covers);
    const auto after =
        std::upper_bound(symbols.begin(), symbols.end(), address,
                         [](std::uint64_t value, const Symbol& symbol) { return value < symbol.address; });
    // Symbols below every segment are no places but numbers that the linker was told.
    if (segment == segments.end() || after == symbols.begin() || std::prev(after)->address < segment->address) {
        return std::nullopt;
    }
    const Symbol& symbol = *std::prev(after);
    return fmt::format("{}+{:#x}", symbol.name, address - symbol.address);
}

ElfImage read_elf(const std::string& path) {
    const File file(path);
    const Elf64_Ehdr header = check_header(file, path);
    ElfImage image;
    image.path = path;
    image.position_independent = header.e_type == ET_DYN;
    image.entry = header.e_entry;
    image.program_header_count = header.e_phnum;
    read_segments(file, header, image);
    read_symbols(file, header, image);
    return image;
}

}  // namespace understudy::machine
