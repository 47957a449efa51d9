#include "hypervisor/machine/disk_image.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "common/bytes.hpp"
#include "common/error.hpp"
#include "common/temporary_directory.hpp"

namespace understudy::machine {
namespace {

using testing::HasSubstr;

constexpr std::size_t kSize = 65536;

// A file of kSize bytes that are zero but for what is set.
class DiskImage : public testing::Test {
  protected:
    template <typename Integer>
    void set(std::size_t offset, Integer value) {
        write_little_endian(content_.data() + offset, value);
    }
    [[nodiscard]] std::string error(DiskUse use = DiskUse::root) {
        std::ofstream(path_, std::ios::binary) << content_;
        try {
            check_disk_image(path_, use);
        } catch (const Error& caught) {
            return caught.what();
        }
        return "";
    }
    // A file system that claims as much as there is is accepted, and one byte less is not.
    void expect_whole_and_cut() {
        EXPECT_EQ(error(), "");
        content_.pop_back();
        EXPECT_THAT(error(), HasSubstr("was cut short: its file system has 65536 bytes, the file 65535"));
        EXPECT_THAT(error(DiskUse::any), HasSubstr("was cut short"));
    }

    TemporaryDirectory directory_{"understudy-disk-image"};
    std::filesystem::path path_ = directory_.path() / "image";
    std::string content_ = std::string(kSize, '\0');
};

TEST_F(DiskImage, ErofsKnowsItsLength) {
    set<std::uint32_t>(1024, 0xe0f5e1e2);
    set<std::uint8_t>(1024 + 12, 12);
    set<std::uint32_t>(1024 + 36, kSize / 4096);
    expect_whole_and_cut();
}

TEST_F(DiskImage, SquashfsKnowsItsLength) {
    content_.replace(0, 4, "hsqs");
    set<std::uint64_t>(40, kSize);
    expect_whole_and_cut();
}

TEST_F(DiskImage, Ext4KnowsItsLength) {
    set<std::uint16_t>(1024 + 56, 0xef53);
    set<std::uint32_t>(1024 + 24, 2);
    set<std::uint32_t>(1024 + 4, kSize / 4096);
    set<std::uint32_t>(1024 + 336, 7);  // means nothing without the feature of 64 bits
    expect_whole_and_cut();
    set<std::uint32_t>(1024 + 96, 0x80);
    EXPECT_THAT(error(), HasSubstr("was cut short"));
}

TEST_F(DiskImage, WithoutAKnownFileSystemIsNoRoot) {
    EXPECT_THAT(error(), HasSubstr("is no image: it has no erofs, squashfs or ext4 file system"));
    EXPECT_EQ(error(DiskUse::any), "");
    content_ = "short";
    EXPECT_THAT(error(), HasSubstr("is no image"));
    content_ = "";
    EXPECT_THAT(error(), HasSubstr("is no image"));
}

TEST_F(DiskImage, ThatCannotBeReadIsNamed) {
    EXPECT_THROW(check_disk_image(directory_.path() / "nowhere", DiskUse::any), Error);
    EXPECT_THROW(check_disk_image(directory_.path(), DiskUse::any), Error);
}

}  // namespace
}  // namespace understudy::machine
