#include "hypervisor/machine/elf_image.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"
#include "tests/unit/hypervisor/machine/elf_file.hpp"

namespace understudy::machine {
namespace {

using testing::HasSubstr;

class ElfImageTest : public testing::Test {
  protected:
    std::string write(const std::string& name, const std::string& content) {
        const auto path = folder_.path() / name;
        std::ofstream(path, std::ios::binary) << content;
        return path.string();
    }
    static std::string content_of(const std::string& path) {
        std::ifstream in(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    static std::string failure(const std::string& path) {
        try {
            static_cast<void>(read_elf(path));
        } catch (const Error& error) {
            return error.what();
        }
        return "no error";
    }

    const TemporaryDirectory folder_;
};

TEST_F(ElfImageTest, SaysWhatAFileIsInstead) {
    EXPECT_THAT(failure((folder_.path() / "missing").string()), HasSubstr("No such file"));
    EXPECT_THAT(failure(folder_.path().string()), HasSubstr("not a regular file"));
    EXPECT_THAT(failure(write("empty", "")), HasSubstr("too short"));
    EXPECT_THAT(failure(write("script", "#!/bin/sh\n" + std::string(100, '#'))), HasSubstr("not an ELF file"));
    EXPECT_THAT(failure("/proc/self/exe"), HasSubstr("dynamically linked; link it with -static"));
}

// Many segments that name the same bytes of a small file would be many copies of them.
TEST_F(ElfImageTest, RefusesSegmentsThatShareTheFilesBytes) {
    constexpr std::uint64_t kBytes = 4096;
    std::string file = elf_file(0x400000, std::string(kBytes, 'c'), {});
    Elf64_Phdr segment{};
    std::memcpy(&segment, file.data() + sizeof(Elf64_Ehdr), sizeof segment);
    const std::uint64_t headers = file.size();
    for (std::uint64_t i = 0; i < 2; ++i) {
        segment.p_vaddr = 0x400000 + i * kBytes;
        append(file, segment);
    }
    Elf64_Ehdr header{};
    std::memcpy(&header, file.data(), sizeof header);
    header.e_phoff = headers;
    header.e_phnum = 2;
    std::memcpy(file.data(), &header, sizeof header);
    EXPECT_THAT(failure(write("shared", file)), HasSubstr("damaged: its segments are larger than the file"));
}

// What is made of an image goes over its segments for each of its addresses.
TEST_F(ElfImageTest, RefusesMoreSegmentsThanLinkersMake) {
    std::string file = elf_file(0x400000, std::string(4096, 'c'), {});
    Elf64_Phdr segment{};
    std::memcpy(&segment, file.data() + sizeof(Elf64_Ehdr), sizeof segment);
    segment.p_filesz = segment.p_memsz = 1;
    const std::uint64_t headers = file.size();
    constexpr std::uint64_t kSegments = 1000;
    for (std::uint64_t i = 0; i < kSegments; ++i) {
        segment.p_vaddr = 0x400000 + i;
        append(file, segment);
    }
    Elf64_Ehdr header{};
    std::memcpy(&header, file.data(), sizeof header);
    header.e_phoff = headers;
    header.e_phnum = kSegments;
    std::memcpy(file.data(), &header, sizeof header);
    EXPECT_THAT(failure(write("many", file)), HasSubstr("more than 64 segments"));
}

TEST_F(ElfImageTest, ReadsOneTableOfSymbols) {
    std::string file = elf_file(0x400000, std::string(64, 'c'), {{std::string(1000, 'n'), 0x400000}});
    Elf64_Ehdr header{};
    std::memcpy(&header, file.data(), sizeof header);
    Elf64_Shdr table{};
    std::memcpy(&table, file.data() + header.e_shoff + sizeof table, sizeof table);
    table.sh_size = 0;
    std::memcpy(file.data() + header.e_shoff + sizeof table, &table, sizeof table);
    for (int i = 0; i < 100; ++i) {
        append(file, table);
        ++header.e_shnum;
    }
    std::memcpy(file.data(), &header, sizeof header);
    EXPECT_LT(read_elf(write("tables", file)).symbol_names.size(), file.size());
}

// A name goes up to the next zero byte, and there may be none: to go there for each symbol takes an hour.
TEST(ElfImage, LooksForASymbolWithoutReadingEveryNameToItsEnd) {
    ElfImage image;
    image.symbol_names = std::string(16U << 20U, 'n') + "x";
    image.symbols.resize(1U << 20U);
    image.symbols.back().name = 16U << 20U;
    image.symbols.back().address = 7;
    EXPECT_EQ(image.find("x"), 7U);
    EXPECT_EQ(image.find("nn"), std::nullopt);
}

TEST(ElfImage, DescribesAddressesOfItsSegmentsOnly) {
    ElfImage image;
    image.segments = {{0x1000, 0x100, {}, true}, {0x3000, 0x100, {}, false}};
    image.symbol_names = std::string("an_absolute_number\0function\0object\0", 35);
    image.symbols = {{0x3000, 8, 28}, {0, 0, 0}, {0x1010, 0x20, 19}};
    EXPECT_EQ(image.describe(0x1010), "function+0x0");
    EXPECT_EQ(image.describe(0x10ff), "function+0xef");
    EXPECT_EQ(image.describe(0x3004), "object+0x4");
    EXPECT_EQ(image.describe(0x1000), std::nullopt);  // before the segment's first symbol
    EXPECT_EQ(image.describe(0x800), std::nullopt);
    EXPECT_EQ(image.describe(0x2000), std::nullopt);
    EXPECT_EQ(image.describe(0x3100), std::nullopt);
}

// Every way to cut or damage the headers is an error in words, never a crash.
TEST_F(ElfImageTest, DamagedFilesAreRefusedOrRead) {
    const std::string whole = content_of("/proc/self/exe").substr(0, 8192);
    for (std::size_t size = 0; size < whole.size(); size += 97) {
        EXPECT_NE(failure(write("cut", whole.substr(0, size))), "no error") << size;
    }
    for (std::size_t at = 16; at < 64 + 13 * 56; ++at) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x5a);
        static_cast<void>(failure(write("damaged", damaged)));
    }
}

}  // namespace
}  // namespace understudy::machine
