#include "tools/torture/memory_trail.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tools/torture/noise.hpp"

namespace understudy::tools {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::size_t kPages = 4;

std::vector<std::byte> memory() {
    return std::vector<std::byte>(kPages * kTrailPageBytes);
}

TEST(PageDigests, TellWhatHasChangedSinceTheLastLook) {
    std::vector<std::byte> bytes = memory();
    PageDigests digests;
    EXPECT_THAT(digests.look(bytes), IsEmpty()) << "memory begins zero";
    bytes[2 * kTrailPageBytes + 5] = std::byte{1};
    const auto changes = digests.look(bytes);
    ASSERT_THAT(changes, SizeIs(1));
    EXPECT_EQ(changes[0].page, 2U);
    EXPECT_THAT(digests.look(bytes), IsEmpty());
}

TEST(MemoryTrail, NamesTheLinesInWhichTwoMemoriesDiffer) {
    std::vector<std::byte> recorded = memory();
    std::vector<std::byte> replayed = memory();
    recorded[kTrailPageBytes + 130] = std::byte{1};
    replayed[kTrailPageBytes + 130] = std::byte{2};
    const auto found = differences(PageDigests().look(recorded), PageDigests().look(replayed));
    ASSERT_THAT(found, SizeIs(1));
    EXPECT_EQ(found[0].page, 1U);
    EXPECT_FALSE(found[0].only_one_changed);
    EXPECT_THAT(found[0].lines, ElementsAre(128U));
}

TEST(MemoryTrail, NamesAPageThatOnlyOneHasWritten) {
    std::vector<std::byte> recorded = memory();
    recorded[3 * kTrailPageBytes] = std::byte{1};
    for (const auto& found :
         {differences(PageDigests().look(recorded), {}), differences({}, PageDigests().look(recorded))}) {
        ASSERT_THAT(found, SizeIs(1));
        EXPECT_EQ(found[0].page, 3U);
        EXPECT_TRUE(found[0].only_one_changed);
    }
}

TEST(MemoryTrail, KnowsTheStopsThatWereLookedAt) {
    MemoryTrail trail;
    trail.add({4}, {});
    EXPECT_EQ(trail.at({3}), nullptr);
    EXPECT_NE(trail.at({4}), nullptr);
}

TEST(Noise, IsMadeOfFramesThatAWireCarries) {
    RandomEngine random(1);
    constexpr int kMany = 2000;
    for (int i = 0; i < kMany; ++i) {
        const Frame frame = some_frame(random, {{2, 0, 0, 0, 0, 1}, 0x0f02000a});
        EXPECT_TRUE(is_wire_frame_size(frame.size() - kOffloadHeaderBytes)) << frame.size();
    }
}

}  // namespace
}  // namespace understudy::tools
