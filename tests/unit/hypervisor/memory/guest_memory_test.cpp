#include "hypervisor/memory/guest_memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <string>

namespace understudy::memory {
namespace {

TEST(GuestMemory, BeginsAsZeros) {
    const GuestMemory memory({10 << 20});
    EXPECT_EQ(memory.size().value, 10U << 20);
    EXPECT_TRUE(std::ranges::all_of(memory.all(), [](std::byte b) { return b == std::byte{0}; }));
}

TEST(GuestMemory, MoreThanTheHostHasIsRefusedInsteadOfTaken) {
    std::string message;
    try {
        const GuestMemory memory({std::uint64_t{1} << 46});
    } catch (const Error& error) {
        message = error.what();
    }
    EXPECT_THAT(message, testing::HasSubstr("to spare"));
    EXPECT_THAT(message, testing::HasSubstr("--memory"));
}

// A peer may announce any size, and a host need not tell what it can spare.
TEST(GuestMemory, MoreThanAnAddressSpaceIsRefusedWhateverTheHostHas) {
    for (const std::uint64_t size : {~std::uint64_t{4095}, ~std::uint64_t{0} - (2U << 20U), std::uint64_t{1} << 63U}) {
        std::string message;
        try {
            const GuestMemory memory({size}, GuestMemory::Population::later);
        } catch (const Error& error) {
            message = error.what();
        }
        EXPECT_THAT(message, testing::HasSubstr("no addresses")) << size;
    }
}

TEST(GuestMemory, IsPopulatedInTheBackgroundWithoutAChange) {
    GuestMemory memory({32 << 20}, GuestMemory::Population::later);
    const auto value_at = [](std::size_t at) { return static_cast<std::byte>(at >> 10U); };
    memory.populate_in_background();
    for (std::size_t at = 0; at < memory.all().size(); at += 512) {
        memory.all()[at] = value_at(at);
    }
    for (std::size_t at = 0; at < memory.all().size(); at += 512) {
        ASSERT_EQ(memory.all()[at], value_at(at)) << at;
    }
}

// A replica that ends soon after it began.
TEST(GuestMemory, NeedNotBePopulatedToEnd) {
    GuestMemory memory({std::uint64_t{1} << 30}, GuestMemory::Population::later);
    memory.populate_in_background();
}

TEST(GuestMemory, IsZeroAgainAfterClearing) {
    GuestMemory memory({8 << 20});
    std::ranges::fill(memory.all(), std::byte{7});
    memory.clear();
    EXPECT_TRUE(std::ranges::all_of(memory.all(), [](std::byte b) { return b == std::byte{0}; }));
}

TEST(GuestMemory, WhatIsDiscardedIsZero) {
    GuestMemory memory(4_MiB);
    std::ranges::fill(memory.all(), std::byte{1});
    memory.discard({kPageBytes}, 2 << 20U);
    const auto is = [&](std::uint64_t at, std::uint64_t size, std::byte what) {
        return std::ranges::all_of(memory.all().subspan(at, size), [&](std::byte byte) { return byte == what; });
    };
    EXPECT_TRUE(is(0, kPageBytes, std::byte{1}));
    EXPECT_TRUE(is(kPageBytes, 2 << 20U, std::byte{0}));
    EXPECT_TRUE(is((2 << 20U) + kPageBytes, (2 << 20U) - kPageBytes, std::byte{1}));
    memory.all()[kPageBytes] = std::byte{2};
    EXPECT_EQ(memory.at<std::uint8_t>({kPageBytes}), 2) << "it can be used again";
}

TEST(GuestMemory, KnowsWhatNobodyHasWritten) {
    GuestMemory memory(64_MiB, GuestMemory::Population::later);
    const auto written = [&](std::uint64_t page) {
        const auto pages = memory.ever_written().pages;
        return std::ranges::find(pages, page) != pages.end();
    };
    constexpr std::uint64_t kLarge = 512;  // the host may give so many at once
    EXPECT_FALSE(written(5));
    memory.at<int>({5 * kPageBytes}) = 1;
    memory.at<int>({(64_MiB).value - 4}) = 1;
    EXPECT_TRUE(written(5));
    EXPECT_TRUE(written(memory.size().value / kPageBytes - 1));
    EXPECT_FALSE(written(2 * kLarge));
    memory.discard({5 * kPageBytes}, kPageBytes);
    EXPECT_LE(memory.ever_written().pages.size(), 2 * kLarge);
    memory.clear();
    EXPECT_TRUE(memory.ever_written().pages.empty());
    EXPECT_TRUE(memory.ever_written().zeros.empty());
}

// A transfer of the guest's state reads all of it.
TEST(GuestMemory, AndWhatWasOnlyRead) {
    for (const bool small : {false, true}) {
        GuestMemory memory(64_MiB, GuestMemory::Population::later);
        ASSERT_EQ(::madvise(memory.all().data(), memory.size().value, small ? MADV_NOHUGEPAGE : MADV_HUGEPAGE), 0);
        memory.at<int>({5 * kPageBytes}) = 1;
        memory.at<int>({6 * kPageBytes}) = 1;
        memory.at<int>({6 * kPageBytes}) = 0;
        ASSERT_EQ(std::ranges::count(memory.all(), std::byte{1}), 1) << "reads it all";
        const auto [pages, zeros] = memory.ever_written();
        EXPECT_TRUE(std::ranges::binary_search(pages, 5U));
        EXPECT_TRUE(std::ranges::binary_search(pages, 6U)) << "somebody may have what was there";
        EXPECT_LE(pages.size(), small ? 2U : 512U);
        EXPECT_EQ(pages.size() + zeros.size(), memory.size().value / kPageBytes);
    }
}

// A huge page that is split may leave the host's page of zeros where there was nothing but zeros.
TEST(GuestMemory, AndWhatTheHostTookBackBecauseItWasZero) {
    GuestMemory memory(4_MiB, GuestMemory::Population::later);
    std::ranges::fill(memory.all(), std::byte{1});
    std::ranges::fill(memory.all().subspan(100 * kPageBytes, kPageBytes), std::byte{0});
    ASSERT_EQ(::madvise(memory.all().data() + kPageBytes, kPageBytes, MADV_COLD), 0);  // splits
    const auto [pages, zeros] = memory.ever_written();
    EXPECT_TRUE(std::ranges::binary_search(pages, 100U) || std::ranges::binary_search(zeros, 100U))
        << "somebody may have what was there";
    EXPECT_EQ(pages.size() + zeros.size(), memory.size().value / kPageBytes);
}

TEST(GuestMemory, NotesWhatTheMonitorWrites) {
    GuestMemory memory(4_MiB);
    memory.at<int>({0}) = 1;
    EXPECT_TRUE(memory.take_noted().empty()) << "nobody wanted to know";
    memory.note_writes();
    memory.at<int>({5 * kPageBytes}) = 1;
    memory.discard({7 * kPageBytes}, 2 * kPageBytes);
    memory.wrote(memory.range({2 * kPageBytes - 1}, 2).value());
    memory.wrote({});
    EXPECT_EQ(memory.take_noted(), (std::vector<std::uint64_t>{1, 2, 5, 7, 8}));
    EXPECT_TRUE(memory.take_noted().empty());
}

}  // namespace
}  // namespace understudy::memory
