#include "guest/kernel/heap.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <random>

namespace understudy::kernel {
namespace {

constexpr std::size_t kSize = 4 << 20;

struct Arena {
    Arena() : memory(static_cast<std::uint8_t*>(std::aligned_alloc(4096, kSize))) {
        std::memset(memory.get(), 0, kSize);
        heap.initialize({reinterpret_cast<std::uint64_t>(memory.get()), kSize});
    }
    struct Free {
        void operator()(std::uint8_t* p) const { std::free(p); }
    };
    std::unique_ptr<std::uint8_t, Free> memory;
    Heap heap;
};

// Blocks never overlap and keep their bytes, whatever the order of allocation.
TEST(Heap, BlocksAreDisjoint) {
    const unsigned seed = std::random_device{}();
    std::mt19937 random(seed);
    Arena arena;
    struct Block {
        std::size_t size;
        std::uint8_t fill;
    };
    std::map<std::uint8_t*, Block> blocks;
    for (int step = 0; step < 30000; ++step) {
        if (random() % 3 != 0) {
            const std::size_t size = random() % 8 == 0 ? random() % 20000 : random() % 2200;
            auto* block = static_cast<std::uint8_t*>(arena.heap.allocate(size));
            if (block != nullptr) {
                ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block) % 16, 0U);
                const auto fill = static_cast<std::uint8_t>(random());
                std::memset(block, fill, size);
                ASSERT_TRUE(blocks.emplace(block, Block{size, fill}).second) << "seed " << seed;
                continue;
            }
        }
        if (!blocks.empty()) {
            auto chosen = blocks.lower_bound(arena.memory.get() + random() % kSize);
            chosen = chosen == blocks.end() ? blocks.begin() : chosen;
            for (std::size_t i = 0; i < chosen->second.size; ++i) {
                ASSERT_EQ(chosen->first[i], chosen->second.fill) << "seed " << seed << " step " << step;
            }
            arena.heap.free(chosen->first);
            blocks.erase(chosen);
        }
    }
}

TEST(Heap, EverySizeFitsItsBlock) {
    Arena arena;
    for (std::size_t size = 0; size <= 5000; ++size) {
        auto* first = static_cast<std::uint8_t*>(arena.heap.allocate(size));
        auto* second = static_cast<std::uint8_t*>(arena.heap.allocate(size));
        ASSERT_NE(first, nullptr);
        ASSERT_NE(second, nullptr);
        const auto distance = first < second ? second - first : first - second;
        ASSERT_GE(static_cast<std::size_t>(distance), size) << size;
        arena.heap.free(first);
        arena.heap.free(second);
    }
}

TEST(Heap, AnswersNullWhenFullAndRecovers) {
    Arena arena;
    std::vector<void*> blocks;
    while (void* block = arena.heap.allocate(1514)) {
        blocks.push_back(block);
    }
    EXPECT_GT(blocks.size(), kSize / 2048);
    EXPECT_EQ(arena.heap.allocate(kSize * 2), nullptr);
    const std::size_t count = blocks.size();
    for (void* block : blocks) {
        arena.heap.free(block);
    }
    for (std::size_t i = 0; i < count; ++i) {
        EXPECT_NE(arena.heap.allocate(1514), nullptr);
    }
}

TEST(Heap, ServesSmallBlocksFromLargeOnesWhenThePagesAreGone) {
    Arena arena;
    std::vector<void*> blocks;
    while (void* block = arena.heap.allocate(1600)) {
        blocks.push_back(block);
    }
    EXPECT_TRUE(arena.heap.low());
    for (void* block : blocks) {
        arena.heap.free(block);
    }
    EXPECT_FALSE(arena.heap.low());
    for (std::size_t i = 0; i + 1 < blocks.size(); ++i) {
        ASSERT_NE(arena.heap.allocate(i % 1600), nullptr) << i;
    }
}

// A burst of one size leaves nothing behind: what it freed serves any other.
TEST(Heap, FreedSlabsServeOtherSizes) {
    Arena arena;
    for (const std::size_t size : {1600U, 256U, 16U, 2048U, 96U}) {
        std::vector<void*> blocks;
        while (void* block = arena.heap.allocate(size)) {
            blocks.push_back(block);
        }
        EXPECT_GT(blocks.size() * size, kSize / 4 * 3) << size;
        for (void* block : blocks) {
            arena.heap.free(block);
        }
        void* large = arena.heap.allocate(kSize / 8 * 7);
        EXPECT_NE(large, nullptr) << size;
        arena.heap.free(large);
    }
}

TEST(HeapDeathTest, RefusesForeignBlocks) {
    Arena arena;
    int foreign = 0;
    EXPECT_DEATH(arena.heap.free(&foreign), "not the heap's");  // NOLINT(clang-analyzer-unix.Malloc): that is the point
}

}  // namespace
}  // namespace understudy::kernel
