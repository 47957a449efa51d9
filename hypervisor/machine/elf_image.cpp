#include "hypervisor/machine/elf_image.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "common/error.hpp"
#include "common/file_descriptor.hpp"

namespace understudy::machine {
namespace {

constexpr std::uint64_t kMaxFile = std::uint64_t{1} << 30;
constexpr std::uint64_t kMaxSymbols = 1u << 20;
constexpr std::uint64_t kMaxMemoryImage = std::uint64_t{1} << 36;
constexpr std::size_t kMaxSegments = 64;

// The file's bytes with checked access: a header that points outside is a truncated or corrupt file. Only what is asked
// for is read: a kernel's file is large.
class File {
  public:
    explicit File(const std::string& path)
        : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
        struct stat status {};
        if (file_.get() < 0 || ::fstat(file_.get(), &status) != 0) {
            throw Error::from_errno(fmt::format("cannot read program {}", path), errno);
        }
        if (!S_ISREG(status.st_mode)) {
            throw Error::format("{} is not a regular file; name a static x86-64 ELF executable", path);
        }
        size_ = static_cast<std::uint64_t>(status.st_size);
        if (size_ > kMaxFile) {
            throw Error::format("{} is larger than 1 GiB", path);
        }
    }

    void read(std::uint64_t offset, std::span<std::byte> into) const {
        std::size_t got = 0;
        while (offset <= size_ && into.size() <= size_ - offset && got < into.size()) {
            const ssize_t more =
                ::pread(file_.get(), into.data() + got, into.size() - got, static_cast<off_t>(offset + got));
            if (more < 0 && errno == EINTR) {
                continue;
            }
            if (more < 0) {
                throw Error::from_errno(fmt::format("cannot read program {}", path_), errno);
            }
            if (more == 0) {
                break;  // it shrinks under our hands
            }
            got += static_cast<std::size_t>(more);
        }
        if (got < into.size()) {
            throw Error::format("{} is truncated or damaged: it refers to byte {} of {}", path_, offset + into.size(),
                                size_);
        }
    }
    // As many as there are in `bytes` bytes, which the file must have. T is what the file holds, byte for byte.
    template <typename T>
    [[nodiscard]] std::vector<T> read_all(std::uint64_t offset, std::uint64_t bytes) const {
        check_size(offset, bytes);
        std::vector<T> values(bytes / sizeof(T));
        read(offset, std::as_writable_bytes(std::span(values)));
        return values;
    }
    template <typename T>
    [[nodiscard]] T read(std::uint64_t offset) const {
        T value;
        read(offset, std::as_writable_bytes(std::span(&value, 1)));
        return value;
    }
    [[nodiscard]] std::uint64_t size() const { return size_; }

  private:
    // Before memory for it is asked for.
    void check_size(std::uint64_t offset, std::uint64_t bytes) const {
        if (offset > size_ || bytes > size_ - offset) {
            throw Error::format("{} is truncated or damaged: it refers to byte {} of {}", path_, offset + bytes, size_);
        }
    }

    std::string path_;
    FileDescriptor file_;
    std::uint64_t size_ = 0;
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

// Each byte of the file is read once at the most, whatever the headers say.
void check_room(const File& file, const ElfImage& image, std::uint64_t more) {
    if (image.segments.size() == kMaxSegments) {
        throw Error::format("{} is damaged: it has more than {} segments", image.path, kMaxSegments);
    }
    std::uint64_t bytes = 0;
    for (const Segment& segment : image.segments) {
        bytes += segment.bytes.size();
    }
    if (more > file.size() - bytes) {
        throw Error::format("{} is damaged: its segments are larger than the file", image.path);
    }
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
        check_room(file, image, program.p_filesz);
        image.segments.push_back({program.p_vaddr, program.p_memsz,
                                  file.read_all<std::byte>(program.p_offset, program.p_filesz),
                                  (program.p_flags & PF_X) != 0});
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

void add_symbols(const File& file, const Elf64_Shdr& section, const Elf64_Shdr& strings, ElfImage& image) {
    const auto names = file.read_all<char>(strings.sh_offset, strings.sh_size);
    image.symbol_names.assign(names.data(), names.size());
    image.symbol_names.push_back(0);
    const auto symbols =
        file.read_all<Elf64_Sym>(section.sh_offset, std::min(section.sh_size, kMaxSymbols * sizeof(Elf64_Sym)) /
                                                        sizeof(Elf64_Sym) * sizeof(Elf64_Sym));
    for (const Elf64_Sym& symbol : symbols) {
        const auto type = static_cast<unsigned>(ELF64_ST_TYPE(symbol.st_info));
        const bool wanted = type == STT_FUNC || type == STT_OBJECT || type == STT_NOTYPE || type == STT_GNU_IFUNC;
        if (wanted && symbol.st_shndx != SHN_UNDEF && symbol.st_name < names.size() && names[symbol.st_name] != 0) {
            image.symbols.push_back({symbol.st_value, symbol.st_size, symbol.st_name, kind_of(type)});
        }
    }
}

// Symbols and sections serve reports and the search for code, which does without: a file whose tables are damaged loses
// them, no more.
void read_sections(const File& file, const Elf64_Ehdr& header, ElfImage& image) try {
    const auto sections = file.read_all<Elf64_Shdr>(header.e_shoff, header.e_shnum * sizeof(Elf64_Shdr));
    for (const Elf64_Shdr& section : sections) {
        if ((section.sh_flags & SHF_EXECINSTR) != 0 && section.sh_type == SHT_PROGBITS) {
            image.code_sections.push_back({section.sh_addr, section.sh_size});
        }
        // A file has one such table.
        if (section.sh_type == SHT_SYMTAB && section.sh_link < sections.size() && image.symbol_names.empty()) {
            add_symbols(file, section, sections[section.sh_link], image);
        }
    }
} catch (const Error&) {
    image.symbols.clear();
    image.code_sections.clear();
}

}  // namespace

std::string_view ElfImage::name_of(const Symbol& symbol) const {
    return symbol.name < symbol_names.size() ? std::string_view(symbol_names.c_str() + symbol.name)
                                             : std::string_view();
}

// No name is read further than the one that is looked for.
std::optional<std::uint64_t> ElfImage::find(std::string_view symbol) const {
    const auto found = std::ranges::find_if(symbols, [&](const Symbol& candidate) {
        return candidate.name < symbol_names.size() &&
               symbol_names.compare(candidate.name, symbol.size(), symbol) == 0 &&
               symbol_names.c_str()[candidate.name + symbol.size()] == '\0';
    });
    return found == symbols.end() ? std::nullopt : std::optional(found->address);
}

std::optional<std::string> ElfImage::describe(std::uint64_t address) const {
    const auto covers = [&](const Segment& segment) {
        return address >= segment.address && address - segment.address < segment.memory_size;
    };
    const auto segment = std::ranges::find_if(segments, covers);
    if (segment == segments.end()) {
        return std::nullopt;
    }
    // Symbols below every segment are no places but numbers that the linker was told.
    const Symbol* nearest = nullptr;
    for (const Symbol& symbol : symbols) {
        if (symbol.address >= segment->address && symbol.address <= address &&
            (nearest == nullptr || symbol.address >= nearest->address)) {
            nearest = &symbol;
        }
    }
    return nearest == nullptr ? std::nullopt
                              : std::optional(fmt::format("{}+{:#x}", name_of(*nearest), address - nearest->address));
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
    read_sections(file, header, image);
    return image;
}

}  // namespace understudy::machine
