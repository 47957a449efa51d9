#include "hypervisor/device/virtqueue.hpp"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/hypervisor/device/driver.hpp"

namespace understudy::device {
namespace {

using testing::Driver;
using testing::kIndirect;
using testing::kNext;

constexpr std::uint32_t kSize = 16;
constexpr std::uint64_t kData = 0x40000;
constexpr Bytes kMemory = 2_MiB;

class VirtqueueTest : public ::testing::Test {
  protected:
    VirtqueueTest() { EXPECT_TRUE(queue_.configure(driver_.queue(), false)); }

    GuestMemory memory_{kMemory};
    Driver driver_{memory_, 0x10000, kSize};
    Virtqueue queue_{memory_};
};

TEST_F(VirtqueueTest, ChainsAreTakenInOrderAndGivenBack) {
    const auto first = driver_.put({{kData, 10}, {kData + 16, 20, true}, {kData + 64, 0, true}});
    const auto second = driver_.put({{kData + 128, 5}});
    ASSERT_EQ(queue_.waiting(), 2);
    EXPECT_EQ(queue_.peek(1)->head, second);
    EXPECT_FALSE(queue_.peek(2));
    const auto chain = queue_.take();
    ASSERT_TRUE(chain);
    EXPECT_EQ(chain->head, first);
    EXPECT_EQ(chain->readable_bytes(), 10U);
    EXPECT_EQ(chain->writable_bytes(), 20U);
    EXPECT_EQ(chain->writable.size(), 2U);
    queue_.give_back(chain->head, 7);
    EXPECT_EQ(queue_.take()->head, second);
    EXPECT_FALSE(queue_.take());
    EXPECT_FALSE(queue_.broken());
    EXPECT_EQ(driver_.take_used(), (std::vector<Driver::Used>{{first, 7}}));
}

TEST_F(VirtqueueTest, IndicesWrap) {
    for (std::uint32_t i = 0; i < 70'000; ++i) {
        driver_.put_head(static_cast<std::uint16_t>(i % kSize));
        queue_.take_all([](const Chain&) { return 1U; });
        ASSERT_EQ(driver_.take_used(), (std::vector<Driver::Used>{{i % kSize, 1}}));
    }
    EXPECT_FALSE(queue_.broken());
}

TEST_F(VirtqueueTest, AnIndirectTableIsFollowed) {
    driver_.describe(0, {kData, 32}, kIndirect, 0);
    driver_.describe_in(kData, 0, {kData + 256, 8}, kNext, 1);
    driver_.describe_in(kData, 1, {kData + 512, 9, true}, 0, 0);
    driver_.put_head(0);
    const auto chain = queue_.take();
    ASSERT_TRUE(chain);
    EXPECT_EQ(chain->readable_bytes(), 8U);
    EXPECT_EQ(chain->writable_bytes(), 9U);
}

TEST_F(VirtqueueTest, BadQueuesAreNotConfigured) {
    const auto refused = [&](auto change) {
        understudy_queue queue = driver_.queue();
        change(queue);
        Virtqueue fresh(memory_);
        return !fresh.configure(queue, false) && !fresh.ready() && fresh.waiting() == 0;
    };
    EXPECT_FALSE(refused([](understudy_queue&) {}));
    EXPECT_TRUE(refused([](understudy_queue& q) { q.size = 0; }));
    EXPECT_TRUE(refused([](understudy_queue& q) { q.size = 15; }));
    EXPECT_TRUE(refused([](understudy_queue& q) { q.size = 2048; }));
    EXPECT_TRUE(refused([](understudy_queue& q) { q.ready = 2; }));
    EXPECT_TRUE(refused([](understudy_queue& q) { q.descriptors = kMemory.value - 16; }));
    EXPECT_TRUE(refused([](understudy_queue& q) { q.available = ~std::uint64_t{0}; }));
    EXPECT_TRUE(refused([](understudy_queue& q) { q.used = ~std::uint64_t{0} - 100; }));
}

// Each is a way to break the rules; none is more than the end of this queue until it is reset.
TEST_F(VirtqueueTest, BadChainsBreakTheQueueAndNothingElse) {
    const auto breaks = [&](const std::string& what, auto make) {
        GuestMemory memory(kMemory);
        Driver driver(memory, 0x10000, kSize);
        Virtqueue queue(memory);
        ASSERT_TRUE(queue.configure(driver.queue(), false)) << what;
        make(driver);
        Virtqueue taken = queue;
        EXPECT_FALSE(taken.take()) << what;
        queue.inspect();
        EXPECT_TRUE(queue.broken()) << what;
        EXPECT_EQ(queue.waiting(), 0) << what;
        EXPECT_FALSE(queue.peek()) << what;
        EXPECT_FALSE(queue.take()) << what;
        ASSERT_TRUE(queue.configure(driver.queue(), false));
        EXPECT_FALSE(queue.broken()) << what;
    };
    breaks("an index that runs ahead", [](Driver& d) { d.set_index(kSize + 1); });
    breaks("an index that goes back", [](Driver& d) { d.set_index(0xffff); });
    breaks("a head beyond the table", [](Driver& d) { d.put_head(kSize); });
    breaks("a next beyond the table", [](Driver& d) {
        d.describe(0, {kData, 4}, kNext, kSize);
        d.put_head(0);
    });
    breaks("a ring of descriptors", [](Driver& d) {
        d.describe(0, {kData, 4}, kNext, 1);
        d.describe(1, {kData, 4}, kNext, 0);
        d.put_head(0);
    });
    breaks("an address outside memory", [](Driver& d) { d.put({{kMemory.value - 3, 4}}); });
    breaks("an address that wraps", [](Driver& d) { d.put({{~std::uint64_t{0}, 0xffffffff}}); });
    breaks("reading behind writing", [](Driver& d) { d.put({{kData, 4, true}, {kData, 4}}); });
    breaks("an indirect table of half descriptors", [](Driver& d) {
        d.describe(0, {kData, 24}, kIndirect, 0);
        d.put_head(0);
    });
    breaks("an empty indirect table", [](Driver& d) {
        d.describe(0, {kData, 0}, kIndirect, 0);
        d.put_head(0);
    });
    breaks("an indirect table that goes on", [](Driver& d) {
        d.describe(0, {kData, 16}, kIndirect | kNext, 1);
        d.put_head(0);
    });
    breaks("an indirect table in one", [](Driver& d) {
        d.describe(0, {kData, 16}, kIndirect, 0);
        d.describe_in(kData, 0, {kData, 16}, kIndirect, 0);
        d.put_head(0);
    });
    breaks("an indirect table outside memory", [](Driver& d) {
        d.describe(0, {kMemory.value, 16}, kIndirect, 0);
        d.put_head(0);
    });
}

TEST_F(VirtqueueTest, LookingChangesNothing) {
    driver_.put_head(kSize);
    EXPECT_EQ(queue_.waiting(), 1);
    EXPECT_FALSE(queue_.peek());
    EXPECT_FALSE(queue_.broken()) << "a replica that replays does not look";
}

// The used ring lies on the available ring: each chain that is given back seems to bring another.
TEST_F(VirtqueueTest, AQueueThatFeedsItselfEnds) {
    understudy_queue queue = driver_.queue();
    queue.used = queue.available - 4;
    ASSERT_TRUE(queue_.configure(queue, false));
    driver_.set_index(8);
    std::size_t rounds = 0;
    queue_.take_all([&](const Chain&) {
        driver_.set_index(static_cast<std::uint16_t>(++rounds + 8));
        return 0U;
    });
    EXPECT_LE(rounds, 8U);
}

TEST_F(VirtqueueTest, TheDriverIsToldAsItWishes) {
    driver_.put({{kData, 1}});
    EXPECT_FALSE(queue_.wants_event());
    queue_.take_all([](const Chain&) { return 0U; });
    EXPECT_TRUE(queue_.wants_event());
    EXPECT_FALSE(queue_.wants_event()) << "once";
    driver_.write16(driver_.available(), 1);  // VRING_AVAIL_F_NO_INTERRUPT
    driver_.put({{kData, 1}});
    queue_.take_all([](const Chain&) { return 0U; });
    EXPECT_FALSE(queue_.wants_event());
}

TEST_F(VirtqueueTest, WithAnEventIndexItIsToldOfThatOne) {
    ASSERT_TRUE(queue_.configure(driver_.queue(), true));
    const auto serve = [&] {
        driver_.put({{kData, 1}});
        queue_.take_all([](const Chain&) { return 0U; });
        queue_.watch();
        return queue_.wants_event();
    };
    driver_.want_event_at(1);
    EXPECT_FALSE(serve());
    EXPECT_TRUE(serve());
    EXPECT_FALSE(serve());
    EXPECT_EQ(driver_.watched(), 3);
}

TEST_F(VirtqueueTest, AStateThatTravelsGoesOnWhereItWas) {
    driver_.put({{kData, 1}});
    (void)queue_.take();
    driver_.put({{kData, 2}});
    std::string state;
    Encoder encoder(state);
    queue_.save(encoder);
    Virtqueue restored(memory_);
    Decoder decoder(state);
    ASSERT_TRUE(restored.restore(decoder));
    EXPECT_TRUE(decoder.finished());
    EXPECT_EQ(restored.waiting(), 1);
    EXPECT_EQ(restored.take()->readable_bytes(), 2U);
    for (std::size_t i = 0; i < state.size(); ++i) {
        Decoder cut(std::string_view(state).substr(0, i));
        EXPECT_FALSE(restored.restore(cut));
        EXPECT_FALSE(restored.ready());
    }
    state[0] = 15;
    Decoder odd(state);
    EXPECT_FALSE(restored.restore(odd));
}

}  // namespace
}  // namespace understudy::device
