#include "hypervisor/machine/writable_pages.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <random>

namespace understudy::machine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr unsigned kVainCopies = 3;

class WritablePagesTest : public testing::Test {
  protected:
    std::vector<std::uint64_t> copied(const std::vector<std::uint64_t>& pages, unsigned vain_copies = kVainCopies) {
        return pages_.copied(pages, vain_copies, [this](std::uint64_t page) { return contents_[page]; });
    }

    std::map<std::uint64_t, std::uint64_t> contents_;
    WritablePages pages_;
};

TEST_F(WritablePagesTest, WhereTheFirstWriteIsCheapAllAreTracked) {
    EXPECT_THAT(copied({1, 5, 9}, 0), ElementsAre(1, 5, 9));
    EXPECT_THAT(copied({1}, 0), ElementsAre(1));
}

TEST_F(WritablePagesTest, APageThatChangesEachTimeStaysWritable) {
    for (int i = 0; i < 100; ++i) {
        ++contents_[5];
        EXPECT_THAT(copied({5}), IsEmpty());
    }
}

TEST_F(WritablePagesTest, OneThatDoesNotIsTrackedAfterAsManyCopiesAsTheFaultIsWorth) {
    for (unsigned i = 0; i < kVainCopies; ++i) {
        ++contents_[7];
        EXPECT_THAT(copied({5, 7, 8 + i}), IsEmpty());
    }
    ++contents_[7];
    EXPECT_THAT(copied({5, 7}), ElementsAre(5));
    ++contents_[5];
    EXPECT_THAT(copied({5, 7}), IsEmpty()) << "written again";
}

TEST_F(WritablePagesTest, AChangeBeginsTheCountAgain) {
    EXPECT_THAT(copied({5}), IsEmpty());
    EXPECT_THAT(copied({5}), IsEmpty());
    ++contents_[5];
    for (unsigned i = 0; i < kVainCopies; ++i) {
        EXPECT_THAT(copied({5}), IsEmpty());
    }
    EXPECT_THAT(copied({5}), ElementsAre(5));
}

TEST_F(WritablePagesTest, NothingIsKnownOfPagesThatWereNotCopied) {
    EXPECT_THAT(copied({5, 6}), IsEmpty());
    EXPECT_THAT(copied({6}), IsEmpty());
    EXPECT_THAT(copied({5}), IsEmpty());
    pages_.clear();
    for (unsigned i = 0; i < kVainCopies; ++i) {
        EXPECT_THAT(copied({5, 6}), IsEmpty());
    }
    EXPECT_THAT(copied({5, 6}), ElementsAre(5, 6));
}

// In copies: a fault is worth kVainCopies of them.
struct Costs {
    std::uint64_t paid = 0;
    std::uint64_t prophet = 0;
};

// Behind its write a page is not written again in so many intervals, and then is.
TEST_F(WritablePagesTest, PaysNoMoreThanTwiceWhatAProphetWould) {
    std::mt19937 random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same pages each time
    std::geometric_distribution<unsigned> often(0.3);
    Costs costs;
    for (int i = 0; i < 10'000; ++i) {
        const unsigned gap = often(random);
        ++contents_[5];
        bool tracked = !copied({5}).empty();
        for (unsigned n = 0; n < gap && !tracked; ++n) {
            ++costs.paid;
            tracked = !copied({5}).empty();
        }
        costs.paid += tracked ? kVainCopies : 0;
        costs.prophet += std::min(gap, kVainCopies);
    }
    EXPECT_GT(costs.paid, costs.prophet);
    EXPECT_LE(costs.paid, 2 * costs.prophet);
}

}  // namespace
}  // namespace understudy::machine
