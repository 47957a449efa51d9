#include "hypervisor/memory/memory_snapshot.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "hypervisor/memory/guest_memory.hpp"

namespace understudy::memory {
namespace {

constexpr std::size_t kSize = std::size_t{11} << 20U;  // five chunks and a half
constexpr std::size_t kPiece = 256 * 1024;

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
    const auto snapshot = take_snapshot(memory_.all());
    fill(memory_.all(), 2);
    EXPECT_EQ(read_all(*snapshot), before_);
    std::vector<std::byte> changed(kSize);
    fill(changed, 2);
    EXPECT_TRUE(std::ranges::equal(memory_.all(), changed)) << "a write was lost";
}

TEST_F(Snapshot, ShowsMemoryAsItWasWhileAnotherThreadWrites) {
    const auto snapshot = take_snapshot(memory_.all());
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
    auto snapshot = take_snapshot(memory_.all());
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
        const auto snapshot = take_snapshot(memory_.all());
        fill(memory_.all(), round);
        ASSERT_EQ(read_all(*snapshot), before_) << round;
        before_.assign(memory_.all().begin(), memory_.all().end());
    }
}

// Memory can be watched by one only: the second is a copy, and as good.
TEST_F(Snapshot, ASecondOneOfTheSameMemoryIsRightToo) {
    const auto first = take_snapshot(memory_.all());
    const auto second = take_snapshot(memory_.all());
    fill(memory_.all(), 2);
    EXPECT_EQ(read_all(*first), before_);
    EXPECT_EQ(read_all(*second), before_);
}

// Neither begins nor ends where a chunk does.
TEST_F(Snapshot, MemoryNeedNotBeAligned) {
    const auto part = memory_.all().subspan(12 * 4096, kSize - 100 * 4096);
    const auto snapshot = take_snapshot(part);
    fill(memory_.all(), 2);
    EXPECT_TRUE(std::ranges::equal(read_all(*snapshot), std::span(before_).subspan(12 * 4096, part.size())));
}

}  // namespace
}  // namespace understudy::memory
