#include "arbiter/storage/wal.hpp"

#include <gtest/gtest.h>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"

namespace understudy::arbiter {
namespace {

class WalTest : public testing::Test {
  protected:
    static raft::Entry entry(raft::Index index, raft::Term term) {
        return {index, term, raft::EntryKind::command, "entry " + std::to_string(index)};
    }
    static void append(Wal& wal, const std::vector<raft::Entry>& entries, std::optional<raft::HardState> state = {}) {
        raft::Write write;
        write.hard_state = state;
        write.entries = entries;
        wal.append(write);
        wal.sync();
    }
    [[nodiscard]] std::string last_segment() const {
        std::string last;
        for (const auto& file : directory_->list()) {
            last = file.starts_with("wal-") ? file : last;
        }
        return last;
    }
    void overwrite(const std::string& name, std::uint64_t offset, std::string_view bytes) const {
        const auto file = directory_->open(name);
        file->write(offset, bytes);
        file->sync();
    }

    TemporaryDirectory temporary_;
    std::unique_ptr<Directory> directory_ = open_directory(temporary_.path().string());
};

constexpr std::size_t kBig = 1 << 20;

TEST_F(WalTest, WhatWasAppendedIsReadAndReplacedEntriesAreGone) {
    {
        Wal wal(*directory_, kBig);
        append(wal, {entry(1, 1), entry(2, 1), entry(3, 1)}, raft::HardState{1, 7});
        append(wal, {entry(2, 2)}, raft::HardState{2, 0});
    }
    const auto contents = Wal(*directory_, kBig).take_contents();
    const std::vector<raft::Entry> expected{entry(1, 1), entry(2, 2)};
    EXPECT_EQ(contents.entries, expected);
    EXPECT_EQ(contents.hard_state, (raft::HardState{2, 0}));
}

TEST_F(WalTest, ATornTailIsCutOffAtAnyLength) {
    std::string segment;
    {
        Wal wal(*directory_, kBig);
        append(wal, {entry(1, 1)}, raft::HardState{1, 1});
        segment = last_segment();
    }
    const auto whole = directory_->read(segment).size();
    std::string torn;
    {
        const TemporaryDirectory second;
        const auto other = open_directory(second.path().string());
        Wal wal(*other, kBig);
        append(wal, {entry(1, 1)}, raft::HardState{1, 1});
        append(wal, {entry(2, 1)});
        torn = other->read(segment).substr(whole);
    }
    for (std::size_t size = 1; size < torn.size() - 8; size += 7) {
        overwrite(segment, whole, torn.substr(0, size));
        Wal wal(*directory_, kBig);
        EXPECT_EQ(wal.take_contents().entries.size(), 1U);
        EXPECT_EQ(wal.torn_bytes(), size);
        EXPECT_EQ(directory_->read(segment).size(), whole);
        directory_->remove(last_segment());  // so that the torn one is the last again
    }
}

TEST_F(WalTest, DamageBeforeTheLastBatchIsRefusedWithFileAndOffset) {
    std::string segment;
    std::uint64_t offset = 0;
    {
        Wal wal(*directory_, kBig);
        append(wal, {entry(1, 1)}, raft::HardState{1, 1});
        segment = last_segment();
        offset = directory_->read(segment).size();
        append(wal, {entry(2, 1)});
        append(wal, {entry(3, 1)});
    }
    overwrite(segment, offset + 40, "X");
    try {
        const Wal wal(*directory_, kBig);
        FAIL() << "damage was accepted";
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find(segment), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find("offset " + std::to_string(offset)), std::string::npos)
            << error.what();
    }
}

TEST_F(WalTest, SegmentsThatASnapshotCoversAreDropped) {
    {
        Wal wal(*directory_, 200);
        for (raft::Index i = 1; i <= 50; ++i) {
            append(wal, {entry(i, 1)}, raft::HardState{1, 1});
        }
        const auto before = wal.bytes();
        wal.drop_before(40);
        EXPECT_LT(wal.bytes(), before / 2);
    }
    const auto contents = Wal(*directory_, 200).take_contents();
    EXPECT_LE(contents.base_index, 40U);
    EXPECT_GT(contents.base_index, 30U);
    EXPECT_EQ(contents.entries.back(), entry(50, 1));
}

}  // namespace
}  // namespace understudy::arbiter
