#include "tools/image/image_cache.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "common/temporary_directory.hpp"
#include "tests/unit/tools/error_of.hpp"
#include "tools/image/build_image.hpp"
#include "tools/image/pending_file.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;
using testing::error_of;
using ::testing::HasSubstr;

std::string content(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

FileDescriptor file_with(const fs::path& path, const std::string& text) {
    std::ofstream(path) << text;
    return FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

std::ptrdiff_t count_in(const fs::path& directory) {
    return std::distance(fs::directory_iterator(directory), fs::directory_iterator());
}

class Cache : public ::testing::Test {
  protected:
    static void remove(const fs::path& directory) { fs::remove_all(directory); }
    void store(const std::string& key, const std::string& text) {
        const WorkDirectory work = cache_.make_work_directory();
        file_with(work.path() / "image", text);
        cache_.store(key, work.path() / "image");
    }

    TemporaryDirectory directory_{"understudy-cache"};
    fs::path path_ = directory_.path() / "understudy/images";
    ImageCache cache_{path_, remove};
};

TEST_F(Cache, GivesWhatWasStored) {
    EXPECT_FALSE(cache_.find("key"));
    EXPECT_FALSE(cache_.find_note("key"));
    store("key", "image");
    cache_.store_note("key", "note");
    ASSERT_TRUE(cache_.find("key"));
    EXPECT_EQ(digest_file(*cache_.find("key"), "image").bytes, 5U);
    EXPECT_EQ(cache_.find_note("key"), "note");
    EXPECT_FALSE(cache_.find("other"));
    EXPECT_EQ(count_in(path_), 2) << "the work directory is gone";
}

TEST_F(Cache, DropsWhatWasUsedLongestAgo) {
    for (std::size_t i = 0; i < ImageCache::kMaxImages; ++i) {
        store("image" + std::to_string(i), "image");
        fs::last_write_time(path_ / ("image" + std::to_string(i) + ".img"),
                            fs::file_time_type::clock::now() - std::chrono::hours(100 - i));
    }
    EXPECT_TRUE(cache_.find("image0")) << "used";
    store("new", "image");
    EXPECT_TRUE(cache_.find("image0"));
    EXPECT_FALSE(cache_.find("image1"));
    EXPECT_TRUE(cache_.find("image2"));
    EXPECT_TRUE(cache_.find("new"));
}

TEST_F(Cache, RemovesWhatKilledBuildsLeft) {
    fs::create_directories(path_ / "work-killed/root");
    const WorkDirectory first = cache_.make_work_directory();
    EXPECT_FALSE(fs::exists(path_ / "work-killed"));
    const WorkDirectory second = cache_.make_work_directory();
    EXPECT_TRUE(fs::exists(first.path())) << "somebody works there";
    EXPECT_NE(first.path(), second.path());
}

TEST_F(Cache, IsNobodyElses) {
    struct stat status {};
    ASSERT_EQ(::stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0700U);
    std::ofstream(directory_.path() / "file") << "no directory";
    EXPECT_THAT(error_of([&] { ImageCache(directory_.path() / "file/images", remove); }), HasSubstr("XDG_CACHE_HOME"));
}

TEST_F(Cache, KeyDependsOnEverythingInTheImage) {
    const fs::path tar = directory_.path() / "root.tar";
    const fs::path program = directory_.path() / "program";
    file_with(tar, "tar");
    file_with(program, "program");
    const ImageRequest packages{.packages = {"a", "b"}};
    const std::string key = content_key(packages, {"a 1 amd64"});
    EXPECT_EQ(key.size(), 32U);
    EXPECT_EQ(key, content_key({.packages = {"b", "a"}}, {"a 1 amd64"}));
    EXPECT_NE(key, content_key(packages, {"a 2 amd64"}));
    EXPECT_NE(key, content_key({.packages = {"a", "b"}, .systemd = true}, {"a 1 amd64"}));
    const std::string of_tar = content_key({.tar = tar}, {});
    const ImageRequest with_program{.tar = tar, .additions = {{program, "/program"}}};
    const std::string of_program = content_key(with_program, {});
    EXPECT_NE(of_tar, of_program);
    EXPECT_NE(of_program, content_key({.tar = tar, .additions = {{program, "/other"}}}, {}));
    file_with(program, "changed");
    EXPECT_NE(of_program, content_key(with_program, {}));
    file_with(program, "program");
    EXPECT_EQ(of_program, content_key(with_program, {}));
    fs::permissions(program, fs::perms::owner_all);
    EXPECT_NE(of_program, content_key(with_program, {}));
    file_with(tar, "changed");
    EXPECT_NE(of_tar, content_key({.tar = tar}, {}));
}

class APendingFile : public ::testing::Test {
  protected:
    TemporaryDirectory directory_{"understudy-pending"};
    fs::path target_ = directory_.path() / "image";
};

TEST_F(APendingFile, TakesItsPlaceWhole) {
    std::ofstream(target_) << "old and longer";
    {
        PendingFile pending(target_);
        pending.copy(file_with(directory_.path() / "from", "new"));
        EXPECT_EQ(content(target_), "old and longer");
        pending.commit();
    }
    EXPECT_EQ(content(target_), "new");
    EXPECT_EQ(count_in(directory_.path()), 2);
}

TEST_F(APendingFile, TakesAFileOfAnotherFileSystem) {
    const FileDescriptor memory(::memfd_create("image", MFD_CLOEXEC));
    const std::string text((std::size_t{2} << 20U) + 5, 'x');
    ASSERT_EQ(::write(memory.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    PendingFile pending(target_);
    pending.copy(memory);
    pending.commit();
    EXPECT_EQ(content(target_), text);
}

TEST_F(APendingFile, LeavesNothingWithoutItsEnd) {
    PendingFile pending(target_);
    pending.write("half");
    EXPECT_EQ(count_in(directory_.path()), 0);
}

TEST_F(APendingFile, GoesWhereALinkLeads) {
    const auto link = directory_.path() / "link";
    fs::create_symlink(target_, link);
    for (const std::string text : {"new", "old"}) {
        PendingFile pending(link);
        pending.write(text);
        pending.commit();
        EXPECT_EQ(content(target_), text);
        EXPECT_TRUE(fs::is_symlink(link));
    }
}

TEST_F(APendingFile, IsRefusedBeforeTheWork) {
    EXPECT_THAT(error_of([&] { PendingFile(directory_.path()); }), HasSubstr("directory"));
    EXPECT_THAT(error_of([&] { PendingFile(directory_.path() / "nowhere/image"); }), HasSubstr("nowhere"));
    EXPECT_NE(error_of([&] { PendingFile(directory_.path() / "image/"); }), "");
    EXPECT_THAT(error_of([] { PendingFile("/dev/null"); }), HasSubstr("no regular file"));
    EXPECT_THAT(error_of([] { PendingFile("/dev/stdout"); }), HasSubstr("no regular file"));
}

}  // namespace
}  // namespace understudy::tools
