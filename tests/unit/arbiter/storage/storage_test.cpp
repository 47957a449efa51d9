#include "arbiter/storage/storage.hpp"

#include <gtest/gtest.h>

#include "arbiter/storage/identity.hpp"
#include "common/codec.hpp"
#include "common/digest.hpp"
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
    Storage second(*directory_, std::nullopt, kSegmentBytes);
    EXPECT_FALSE(second.was_empty());
    EXPECT_EQ(second.take_restored().snapshot->configuration, alone_) << "the one that it began with";
}

TEST_F(StorageTest, AnEmptyDirectoryIsNoOldServers) {
    EXPECT_THROW(Storage(*directory_, std::nullopt, kSegmentBytes), Error);
}

class IdentityTest : public StorageTest {
  protected:
    Identity identity(std::uint64_t incarnation, raft::NodeId server = 1, const std::string& cluster = "c") {
        return {*directory_, server, cluster, {incarnation, false}};
    }
};

TEST_F(IdentityTest, LivesAsLongAsTheDisk) {
    EXPECT_EQ(identity(7).incarnation(), 7U);
    EXPECT_FALSE(identity(8).introduced());
    identity(8).set_introduced();
    EXPECT_EQ(identity(9).incarnation(), 7U);
    EXPECT_TRUE(identity(9).introduced());
}

TEST_F(IdentityTest, AServerIsTheOneThatWasMetFirst) {
    EXPECT_TRUE(identity(7).knows(2, 20));
    auto again = identity(8);
    EXPECT_TRUE(again.knows(2, 20));
    EXPECT_FALSE(again.knows(2, 21));
    EXPECT_TRUE(again.knows(3, 21));
    EXPECT_FALSE(identity(8).knows(3, 22));
}

TEST_F(IdentityTest, KnowsWhoBeganTheCluster) {
    EXPECT_EQ(Identity(*directory_, 1, "c", {7, false, 99}).founders(), 99U);
    EXPECT_EQ(identity(8).founders(), 99U);
}

// As servers wrote it that were not told.
TEST_F(IdentityTest, AnOlderFileIsRead) {
    std::string out("USTIDEN1");
    Encoder encoder(out);
    encoder.u64(1).u64(7).flag(true).bytes("c").u32(1).u64(2).u64(20);
    encoder.u64(digest(as_bytes(out)));
    directory_->open("identity")->write(0, out);
    auto read = identity(8);
    EXPECT_EQ(read.incarnation(), 7U);
    EXPECT_EQ(read.founders(), 0U);
    EXPECT_FALSE(read.knows(2, 21));
    EXPECT_FALSE(identity(8).knows(2, 21)) << "written anew";
}

TEST_F(IdentityTest, ADirectoryOfAnotherIsRefused) {
    static_cast<void>(identity(7));
    EXPECT_THROW(static_cast<void>(identity(7, 2)), Error);
    EXPECT_THROW(static_cast<void>(identity(7, 1, "d")), Error);
    directory_->open("identity")->write(16, "X");
    EXPECT_THROW(static_cast<void>(identity(7)), Error);
}

}  // namespace
}  // namespace understudy::arbiter
