#include "hypervisor/machine/elf_image.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"

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
