#include "hypervisor/memory/memory_snapshot.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "common/error.hpp"
#include "hypervisor/memory/guest_memory.hpp"

namespace understudy::memory {
namespace {

constexpr std::size_t kSize = std::size_t{11} << 20U;  // five pieces and a half
constexpr std::size_t kPiece = std::size_t{256} << 10U;

void fill(std::span<std::byte> memory, std::uint64_t seed) {
    for (std::size_t at = 0; at + sizeof seed <= memory.size(); at += sizeof seed) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        std::memcpy(memory.data() + at, &seed, sizeof seed);
    }
}

std::vector<std::byte> read_all(MemorySnapshot& snapshot) {
    std::vector<std::byte> bytes(snapshot.size().value);
    for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
        snapshot.read(at, std::span(bytes).subspan(at, std::min(kPiece, bytes.size() - at)));
    }
    return bytes;
}

std::unique_ptr<MemorySnapshot> taken(GuestMemory& memory, const SnapshotConfig& config = {}) {
    auto snapshot = prepare_snapshot(memory, config);
    snapshot->take();
    return snapshot;
}

class Snapshot : public testing::Test {
  protected:
    void SetUp() override {
        if (!can_protect_memory()) {
            GTEST_SKIP() << "needs userfaultfd with write protection: root, or vm.unprivileged_userfaultfd=1";
        }
        fill(memory_.all(), 1);
        before_.assign(memory_.all().begin(), memory_.all().end());
    }

    GuestMemory memory_{Bytes{kSize}};
    std::vector<std::byte> before_;
};

TEST_F(Snapshot, ShowsMemoryAsItWasThoughAllOfItChanges) {
    const auto snapshot = taken(memory_);
    fill(memory_.all(), 2);
    EXPECT_EQ(read_all(*snapshot), before_);
    std::vector<std::byte> changed(kSize);
    fill(changed, 2);
    EXPECT_TRUE(std::ranges::equal(memory_.all(), changed)) << "a write was lost";
}

TEST_F(Snapshot, ShowsMemoryAsItWasWhileAnotherThreadWrites) {
    const auto snapshot = taken(memory_);
    std::atomic<bool> over = false;
    std::uint64_t writes = 0;
    std::thread writer([&] {
        for (std::uint64_t x = 1; !over; x = x * 6364136223846793005ULL + 1442695040888963407ULL, ++writes) {
            memory_.all()[(x >> 20U) % kSize] ^= std::byte{1};
        }
    });
    const auto shown = read_all(*snapshot);
    over = true;
    writer.join();
    EXPECT_EQ(shown, before_);
    EXPECT_GT(writes, 0U);
}

// The peer was lost in the middle of the transfer.
TEST_F(Snapshot, LetsWritersGoOnWhenItIsGivenUp) {
    auto snapshot = taken(memory_);
    std::vector<std::byte> piece(kPiece);
    snapshot->read(0, piece);
    snapshot.reset();
    fill(memory_.all(), 3);
    std::vector<std::byte> changed(kSize);
    fill(changed, 3);
    EXPECT_TRUE(std::ranges::equal(memory_.all(), changed));
}

TEST_F(Snapshot, IsTakenAgainAndAgain) {
    for (std::uint64_t round = 2; round < 12; ++round) {
        const auto snapshot = taken(memory_);
        fill(memory_.all(), round);
        ASSERT_EQ(read_all(*snapshot), before_) << round;
        before_.assign(memory_.all().begin(), memory_.all().end());
    }
}

// Memory can be watched by one only: the second is a copy, and as good.
TEST_F(Snapshot, ASecondOneOfTheSameMemoryIsRightToo) {
    const auto first = taken(memory_);
    const auto second = taken(memory_);
    fill(memory_.all(), 2);
    EXPECT_EQ(read_all(*first), before_);
    EXPECT_EQ(read_all(*second), before_);
}

// What is written before the stop belongs to it, and a block that was written to then is protected all the same.
TEST_F(Snapshot, ShowsWhatWasWrittenWhileItWasMadeReady) {
    const auto snapshot = prepare_snapshot(memory_);
    fill(memory_.all(), 2);
    snapshot->take();
    std::vector<std::byte> taken(memory_.all().begin(), memory_.all().end());
    fill(memory_.all(), 3);
    EXPECT_EQ(read_all(*snapshot), taken);
    EXPECT_GT(snapshot->cost().put_aside.value, 0U);
}

// Memory that nobody has touched has no pages that could be protected as others are.
TEST_F(Snapshot, ShowsThatMemoryWasUntouched) {
    GuestMemory untouched(Bytes{kSize}, GuestMemory::Population::later);
    const auto snapshot = taken(untouched);
    fill(untouched.all(), 2);
    EXPECT_EQ(read_all(*snapshot), std::vector<std::byte>(kSize));
}

TEST_F(Snapshot, ShowsWhatWasDiscardedLater) {
    const auto snapshot = taken(memory_);
    memory_.discard({kPageBytes}, 5 << 20U);
    EXPECT_EQ(read_all(*snapshot), before_);
    EXPECT_EQ(memory_.all()[kPageBytes], std::byte{0});
    EXPECT_EQ(memory_.all()[(5 << 20U) + kPageBytes - 1], std::byte{0});
    EXPECT_EQ(memory_.all()[(5 << 20U) + kPageBytes], before_[(5 << 20U) + kPageBytes]);
}

// The guest goes on, and it is the snapshot that cannot be had.
TEST_F(Snapshot, IsGivenUpBeyondItsBudget) {
    const auto snapshot = taken(memory_, {.put_aside = 1_MiB});
    fill(memory_.all(), 2);
    std::vector<std::byte> changed(kSize);
    fill(changed, 2);
    EXPECT_TRUE(std::ranges::equal(memory_.all(), changed)) << "a write was lost";
    EXPECT_THROW(read_all(*snapshot), Error);
    EXPECT_EQ(snapshot->cost().put_aside, 1_MiB);
}

TEST_F(Snapshot, MayBeGivenUpBeforeItIsTaken) {
    prepare_snapshot(memory_).reset();
    fill(memory_.all(), 2);
    EXPECT_NE(memory_.all()[0], before_[0]);
}

}  // namespace
}  // namespace understudy::memory
