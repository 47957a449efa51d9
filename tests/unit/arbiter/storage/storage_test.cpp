#include "arbiter/storage/storage.hpp"

#include <gtest/gtest.h>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"

namespace understudy::arbiter {
namespace {

constexpr std::size_t kSegmentBytes = std::size_t{1} << 20U;

class StorageTest : public testing::Test {
  protected:
    TemporaryDirectory temporary_;
    std::unique_ptr<Directory> directory_ = open_directory(temporary_.path().string());
    const raft::Configuration alone_{{{1, {"127.0.0.1:1", true}}}};
};

TEST_F(StorageTest, ASecondServerOnTheSameDirectoryIsRefused) {
    EXPECT_THROW(static_cast<void>(open_directory(temporary_.path().string())), Error);
}

TEST_F(StorageTest, ADamagedSnapshotIsRefused) {
    { const Storage storage(*directory_, alone_, kSegmentBytes); }
    directory_->open("snapshot-0000000000000000")->write(12, "X");
    EXPECT_THROW(Storage(*directory_, alone_, kSegmentBytes), Error);
}

TEST_F(StorageTest, AnEmptyDirectoryIsANewServers) {
    Storage first(*directory_, alone_, kSegmentBytes);
    EXPECT_TRUE(first.was_empty());
    EXPECT_EQ(first.take_restored().snapshot->configuration, alone_);
    Storage second(*directory_, {}, kSegmentBytes);
    EXPECT_FALSE(second.was_empty());
    EXPECT_EQ(second.take_restored().snapshot->configuration, alone_) << "the one that it began with";
}

}  // namespace
}  // namespace understudy::arbiter
