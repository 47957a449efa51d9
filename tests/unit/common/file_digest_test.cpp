#include "common/file_digest.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"

namespace understudy {
namespace {

class DigestOfAFile : public testing::Test {
  protected:
    std::filesystem::path file_with(const std::string& content, const std::string& name = "file") {
        auto path = directory_.path() / name;
        std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
        return path;
    }

    TemporaryDirectory directory_{"understudy-digest"};
};

TEST_F(DigestOfAFile, IsTheOneThatXxh128sumPrints) {
    EXPECT_EQ(digest_file(file_with("")).text(), "99aa06d3014798d86001c324468d497f");
    EXPECT_EQ(digest_file(file_with("abc")).text(), "06b05ab6733a618578af5f94892f3950");
}

TEST_F(DigestOfAFile, CoversEveryByteOfALongOne) {
    std::string content((std::size_t{3} << 20U) + 17, 'x');
    const FileDigest before = digest_file(file_with(content));
    EXPECT_EQ(before.bytes, content.size());
    EXPECT_EQ(before, digest_file(file_with(content, "copy")));
    for (const std::size_t at : {std::size_t{0}, content.size() / 2, content.size() - 1}) {
        std::string other = content;
        other[at] = 'y';
        EXPECT_NE(before, digest_file(file_with(other))) << at;
    }
    EXPECT_NE(before, digest_file(file_with(content + 'x')));
}

TEST_F(DigestOfAFile, LeavesThePositionOfTheDescriptor) {
    const FileDescriptor file(::open(file_with("content").c_str(), O_RDONLY | O_CLOEXEC));
    ::lseek(file.get(), 3, SEEK_SET);
    EXPECT_EQ(digest_file(file, "file"), digest_file(file, "file"));
    EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), 3);
}

TEST_F(DigestOfAFile, IsRefusedOfWhatIsNoFile) {
    EXPECT_THROW(static_cast<void>(digest_file(directory_.path())), Error);
    EXPECT_THROW(static_cast<void>(digest_file(directory_.path() / "nothing")), Error);
    EXPECT_THROW(static_cast<void>(digest_file("/dev/zero")), Error);
    const auto pipe = directory_.path() / "pipe";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    EXPECT_THROW(static_cast<void>(digest_file(pipe)), Error);
}

}  // namespace
}  // namespace understudy
