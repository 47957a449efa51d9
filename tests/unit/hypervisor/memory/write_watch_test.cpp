#include "hypervisor/memory/write_watch.hpp"

#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <future>
#include <optional>

#include "common/mapping.hpp"
#include "common/units.hpp"

namespace understudy::memory {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kSize = 4 * kPageBytes;
// As long as somebody may wait on a busy machine before he counts as forgotten.
constexpr auto kPatience = 30s;

class Watch : public testing::Test {
  protected:
    void SetUp() override {
        if (!WriteWatch::possible()) {
            GTEST_SKIP() << "needs userfaultfd with write protection: root, or vm.unprivileged_userfaultfd=1";
        }
        ASSERT_TRUE(mapping_);
        mapping_.bytes()[0] = std::byte{1};
        watch_ = WriteWatch::of(mapping_.bytes());
        ASSERT_TRUE(watch_);
        ASSERT_TRUE(watch_->protect(mapping_.bytes()));
        writer_ = std::async(std::launch::async, [this] { mapping_.bytes()[0] = std::byte{2}; });
        pollfd fault{watch_->descriptor(), POLLIN, 0};
        ASSERT_EQ(::poll(&fault, 1, std::chrono::milliseconds(kPatience).count()), 1) << "nobody was held";
    }

    // If it is held for ever, the end of the watch lets it go.
    void TearDown() override { watch_.reset(); }

    bool written() { return writer_.wait_for(kPatience) == std::future_status::ready; }

    Mapping mapping_ = Mapping::anonymous(kSize);
    std::optional<WriteWatch> watch_;
    std::future<void> writer_;
};

TEST_F(Watch, WhoWaitsGoesOnWhenItIsUnprotected) {
    watch_->unprotect(mapping_.bytes());
    EXPECT_TRUE(written());
}

TEST_F(Watch, WhoWaitsGoesOnWhenItIsForgotten) {
    watch_->forget(mapping_.bytes());
    EXPECT_TRUE(written());
}

// The fault was taken off the queue, and memory forgotten before anybody could answer it.
TEST_F(Watch, WhoWaitsGoesOnWhenItIsForgottenBetweenQuestionAndAnswer) {
    EXPECT_TRUE(watch_->next_fault());
    watch_->forget(mapping_.bytes());
    watch_->unprotect(mapping_.bytes());
    EXPECT_TRUE(written());
}

}  // namespace
}  // namespace understudy::memory
