#include "guest/kernel/ready_list.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace understudy::kernel {
namespace {

constexpr std::uint32_t kIn = 1;
constexpr std::uint32_t kOut = 4;
constexpr std::uint32_t kError = 8;

struct Watched : Interest {
    explicit Watched(std::uint32_t asked) { events = asked | kEpollAlways; }
    std::uint32_t ready = 0;
};

std::uint32_t ready_of(const Interest& interest) {
    return static_cast<const Watched&>(interest).ready;
}

struct Collector {
    std::vector<std::pair<const Interest*, std::uint32_t>> reported;
    void operator()(const Interest& interest, std::uint32_t bits) { reported.emplace_back(&interest, bits); }
};

std::vector<std::pair<const Interest*, std::uint32_t>> collect(ReadyList& list, std::size_t capacity = 100) {
    Collector collector;
    list.collect(capacity, ready_of, [&](const Interest& i, std::uint32_t bits) { collector(i, bits); });
    return collector.reported;
}
using Reports = std::vector<std::pair<const Interest*, std::uint32_t>>;

TEST(ReadyList, ALevelIsReportedWhileItLasts) {
    ReadyList list;
    Watched a(kIn);
    a.ready = kIn | kOut;
    list.mark(a);
    EXPECT_EQ(collect(list), (Reports{{&a, kIn}}));
    EXPECT_EQ(collect(list), (Reports{{&a, kIn}}));
    a.ready = kOut;
    EXPECT_EQ(collect(list), Reports{});
    a.ready = kIn;
    EXPECT_EQ(collect(list), Reports{});  // nobody marked it
    list.mark(a);
    list.mark(a);
    EXPECT_EQ(collect(list), (Reports{{&a, kIn}}));
}

TEST(ReadyList, AnEdgeIsReportedOnceForEachChange) {
    ReadyList list;
    Watched a(kIn | kEpollEdge);
    a.ready = kIn;
    list.mark(a);
    EXPECT_EQ(collect(list), (Reports{{&a, kIn}}));
    EXPECT_EQ(collect(list), Reports{});
    list.mark(a);
    EXPECT_EQ(collect(list), (Reports{{&a, kIn}}));
}

TEST(ReadyList, AOneShotIsDisarmed) {
    ReadyList list;
    Watched a(kIn | kEpollOneShot);
    a.ready = kIn | kError;
    list.mark(a);
    EXPECT_EQ(collect(list), (Reports{{&a, kIn | kError}}));
    list.mark(a);
    EXPECT_EQ(collect(list), Reports{});
    a.events = kOut | kEpollAlways | kEpollOneShot;
    a.ready = kOut;
    list.mark(a);
    EXPECT_EQ(collect(list), (Reports{{&a, kOut}}));
}

TEST(ReadyList, ErrorsNeedNotBeAskedFor) {
    ReadyList list;
    Watched a(0);
    a.ready = kIn | kError;
    list.mark(a);
    EXPECT_EQ(collect(list), (Reports{{&a, kError}}));
}

TEST(ReadyList, ASmallCapacityIsFairToAll) {
    ReadyList list;
    std::array<Watched, 3> all{Watched(kIn), Watched(kIn), Watched(kIn)};
    for (Watched& one : all) {
        one.ready = kIn;
        list.mark(one);
    }
    EXPECT_EQ(collect(list, 2), (Reports{{&all[0], kIn}, {&all[1], kIn}}));
    EXPECT_EQ(collect(list, 2), (Reports{{&all[2], kIn}, {&all[0], kIn}}));
    EXPECT_EQ(collect(list, 2), (Reports{{&all[1], kIn}, {&all[2], kIn}}));
}

TEST(ReadyList, AnyDropsWhatIsNotReady) {
    ReadyList list;
    Watched a(kIn);
    Watched b(kIn);
    list.mark(a);
    list.mark(b);
    EXPECT_FALSE(list.any(ready_of));
    EXPECT_TRUE(list.empty());
    b.ready = kIn;
    list.mark(a);
    list.mark(b);
    EXPECT_TRUE(list.any(ready_of));
    EXPECT_EQ(collect(list), (Reports{{&b, kIn}}));
}

}  // namespace
}  // namespace understudy::kernel
