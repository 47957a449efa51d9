// What a small kernel's guest is made from comes from files, and they may say anything.
#include "hypervisor/machine/boot_image.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"
#include "tests/unit/hypervisor/machine/elf_file.hpp"

namespace understudy::machine {
namespace {

using testing::HasSubstr;

class BootImage : public testing::Test {
  protected:
    BootImage() {
        config_.memory = 16_MiB;
        config_.kernel =
            write("kernel", elf_file(abi::kKernelBase, "code", {{"understudy_vectors", abi::kKernelBase}}));
        config_.program = write("program", elf_file(abi::kProgramBase, "code", {}));
    }

    std::string write(const std::string& name, const std::string& content) {
        const auto path = folder_.path() / name;
        std::ofstream(path, std::ios::binary) << content;
        return path.string();
    }
    std::string failure() {
        try {
            static_cast<void>(load_vm(config_));
        } catch (const Error& error) {
            return error.what();
        }
        return "no error";
    }

    const TemporaryDirectory folder_;
    VmConfig config_;
};

TEST_F(BootImage, TakesAProgramThatFits) {
    EXPECT_EQ(failure(), "no error");
}

TEST_F(BootImage, RefusesAProgramAtTheEndOfAllAddresses) {
    for (const std::uint64_t bytes : {1U, 100U, 4096U, 5000U}) {
        config_.program = write("high", elf_file(~std::uint64_t{0} - bytes, std::string(bytes, 'c'), {}));
        EXPECT_THAT(failure(), HasSubstr("more memory than a guest can have")) << bytes;
    }
}

// One that is loaded anywhere, from address 0 to the end of all addresses.
TEST_F(BootImage, RefusesAProgramAsLargeAsAllAddresses) {
    std::string file = elf_file(0, std::string(64, 'c'), {});
    Elf64_Phdr segment{};
    std::memcpy(&segment, file.data() + sizeof(Elf64_Ehdr), sizeof segment);
    const std::uint64_t headers = file.size();
    segment.p_filesz = segment.p_memsz = 16;
    append(file, segment);
    segment.p_vaddr = ~std::uint64_t{0} - segment.p_memsz;
    append(file, segment);
    Elf64_Ehdr header{};
    std::memcpy(&header, file.data(), sizeof header);
    header.e_type = ET_DYN;
    header.e_phoff = headers;
    header.e_phnum = 2;
    std::memcpy(file.data(), &header, sizeof header);
    config_.program = write("all", file);
    EXPECT_THAT(failure(), HasSubstr("more memory than a guest can have"));
}

TEST_F(BootImage, RefusesARootArchiveThatIsNoFileOrTooLarge) {
    config_.root_archive = (folder_.path() / "pipe").string();
    ASSERT_EQ(::mkfifo(config_.root_archive.c_str(), 0600), 0);
    EXPECT_THAT(failure(), HasSubstr("no regular file"));
    config_.root_archive = write("huge", "");
    std::filesystem::resize_file(config_.root_archive, std::uintmax_t{1} << 40U);
    EXPECT_THAT(failure(), HasSubstr("larger than"));
    config_.root_archive = write("short", "tar");
    EXPECT_THAT(failure(), HasSubstr("not a tar archive"));
}

}  // namespace
}  // namespace understudy::machine
