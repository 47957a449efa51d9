#include "guest/kernel/page_map.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace understudy::kernel {
namespace {

struct Map {
    explicit Map(std::size_t pages) : words(PageMap::words_for(pages)), map(words, pages) {}
    std::vector<std::uint64_t> words;
    PageMap map;
};

TEST(PageMap, AllocatesTheLowestRunThatIsLongEnough) {
    Map m(200);
    EXPECT_EQ(m.map.allocate(10), 0U);
    EXPECT_EQ(m.map.allocate(60), 10U);  // across a word's boundary
    m.map.release(0, 10);
    EXPECT_EQ(m.map.allocate(11), 70U);
    EXPECT_EQ(m.map.allocate(10), 0U);
    EXPECT_EQ(m.map.free_pages(), 200U - 81U);
}

TEST(PageMap, RefusesWhatIsNotThere) {
    Map m(130);
    EXPECT_EQ(m.map.allocate(0), std::nullopt);
    EXPECT_EQ(m.map.allocate(131), std::nullopt);
    EXPECT_EQ(m.map.allocate(130), 0U);
    EXPECT_EQ(m.map.allocate(1), std::nullopt);
    m.map.release(0, 1);
    m.map.release(129, 1);
    EXPECT_EQ(m.map.allocate(2), std::nullopt);  // enough pages, no run
    EXPECT_EQ(m.map.allocate(1), 0U);
    EXPECT_EQ(m.map.allocate(1), 129U);
}

TEST(PageMap, TakesOverWhatIsPartlyInUse) {
    Map m(64);
    m.map.take(10, 10);
    m.map.take(5, 10);
    EXPECT_EQ(m.map.free_pages(), 64U - 15U);
    EXPECT_TRUE(m.map.all_used(5, 15));
    EXPECT_FALSE(m.map.all_used(4, 2));
    EXPECT_TRUE(m.map.all_free(20, 44));
    EXPECT_FALSE(m.map.all_free(19, 2));
    EXPECT_FALSE(m.map.all_free(60, 5));  // reaches beyond the end
}

// Against a plain list of pages, over random sequences.
TEST(PageMap, AgreesWithAPlainList) {
    constexpr std::size_t kPages = 321;
    const unsigned seed = std::random_device{}();
    std::mt19937 random(seed);
    Map m(kPages);
    std::vector<bool> used(kPages);
    for (int step = 0; step < 20000; ++step) {
        const std::size_t count = random() % 40 + 1;
        if (random() % 2 == 0) {
            std::optional<std::size_t> expected;
            for (std::size_t first = 0; first + count <= kPages && !expected; ++first) {
                bool free = true;
                for (std::size_t page = first; page < first + count; ++page) {
                    free = free && !used[page];
                }
                expected = free ? std::optional(first) : std::nullopt;
            }
            ASSERT_EQ(m.map.allocate(count), expected) << "seed " << seed << " step " << step;
            for (std::size_t page = 0; expected && page < count; ++page) {
                used[*expected + page] = true;
            }
        } else {
            const std::size_t first = random() % (kPages - count);
            m.map.release(first, count);
            for (std::size_t page = first; page < first + count; ++page) {
                used[page] = false;
            }
        }
        ASSERT_EQ(m.map.free_pages(), static_cast<std::size_t>(std::count(used.begin(), used.end(), false)))
            << "seed " << seed << " step " << step;
    }
}

}  // namespace
}  // namespace understudy::kernel
