#include "hypervisor/machine/boot_copy.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "common/digest.hpp"

namespace understudy::machine {
namespace {

constexpr std::uint64_t kAt = 4 << 20;

class BootCopy : public ::testing::Test {
  protected:
    void SetUp() override {
        std::ranges::fill(memory_.all().subspan(3 * kPageBytes, kPageBytes), std::byte{3});
        std::ranges::fill(memory_.all().subspan(kAt - 2 * kPageBytes, 2 * kPageBytes), std::byte{4});
        memory_.at<std::uint8_t>({kPageBytes}) = 1;
        before_.assign(memory_.all().begin(), memory_.all().begin() + kAt);
        digest_ = keep_boot_copy(memory_, kAt);
    }
    [[nodiscard]] bool is_as_before() { return std::ranges::equal(memory_.all().first(kAt), before_); }

    GuestMemory memory_{8_MiB, GuestMemory::Population::later};
    std::vector<std::byte> before_;
    std::uint64_t digest_ = 0;
};

TEST_F(BootCopy, BringsBackWhatMemoryHeld) {
    ASSERT_TRUE(is_as_before()) << "keeping it changes nothing";
    for (const std::byte fill : {std::byte{7}, std::byte{0}, std::byte{9}}) {
        std::ranges::fill(memory_.all().first(kAt), fill);
        ASSERT_TRUE(restore_boot_copy(memory_, kAt, digest_));
        EXPECT_TRUE(is_as_before());
    }
}

// The guest could have done that; it is not started from anything else than what it was started from.
TEST_F(BootCopy, ThatWasWrittenToIsRefused) {
    for (const std::uint64_t at : {kAt, kAt + 8, kAt + kPageBytes, kAt + 4 * kPageBytes}) {
        auto& byte = memory_.at<std::uint8_t>({at});
        const std::uint8_t was = byte;
        byte = static_cast<std::uint8_t>(was + 1);
        memory_.at<std::uint8_t>({0}) = 5;
        EXPECT_FALSE(restore_boot_copy(memory_, kAt, digest_)) << at;
        EXPECT_EQ(memory_.at<std::uint8_t>({0}), 5) << "nothing is changed";
        byte = was;
        memory_.at<std::uint8_t>({0}) = 0;
    }
    std::ranges::fill(memory_.all().subspan(kAt), std::byte{0xff});
    EXPECT_FALSE(restore_boot_copy(memory_, kAt, digest_));
}

// A state from elsewhere brings the digest, too: it need not be right for anything.
TEST_F(BootCopy, OfPagesThatAreNotThereIsRefused) {
    memory_.at<std::uint64_t>({kAt + 8}) = kAt / kPageBytes;
    // A head, and the four pages that were not zero.
    const std::uint64_t forged = digest(memory_.all().subspan(kAt, 5 * kPageBytes));
    EXPECT_FALSE(restore_boot_copy(memory_, kAt, forged));
    memory_.at<std::uint64_t>({kAt + 8}) = 1;
    EXPECT_TRUE(restore_boot_copy(memory_, kAt, digest_)) << "the digest is computed as this test does";
    EXPECT_EQ(digest_, digest(memory_.all().subspan(kAt, 5 * kPageBytes)));
}

TEST_F(BootCopy, OfNothingBringsNothingBack) {
    std::ranges::fill(memory_.all().subspan(kAt), std::byte{0});
    ASSERT_TRUE(restore_boot_copy(memory_, kAt, digest(memory_.all().subspan(kAt, kPageBytes))));
    EXPECT_TRUE(std::ranges::all_of(memory_.all(), [](std::byte byte) { return byte == std::byte{0}; }));
}

}  // namespace
}  // namespace understudy::machine
