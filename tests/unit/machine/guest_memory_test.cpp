#include "hypervisor/machine/guest_memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <stop_token>
#include <string>

namespace understudy::machine {
namespace {

TEST(GuestMemory, beginsAsZeros) {
    const GuestMemory memory({10 << 20});
    EXPECT_EQ(memory.size().value, 10U << 20);
    EXPECT_TRUE(std::ranges::all_of(memory.all(), [](std::byte b) { return b == std::byte{0}; }));
}

TEST(GuestMemory, moreThanTheHostHasIsRefusedInsteadOfTaken) {
    std::string message;
    try {
        const GuestMemory memory({std::uint64_t{1} << 46});
    } catch (const Error& error) {
        message = error.what();
    }
    EXPECT_THAT(message, testing::HasSubstr("to spare"));
    EXPECT_THAT(message, testing::HasSubstr("--memory"));
}

TEST(GuestMemory, thatNobodyWantsAnyMoreIsWholeAllTheSame) {
    std::stop_source stop;
    stop.request_stop();
    GuestMemory memory({10 << 20}, stop.get_token());
    memory.all().back() = std::byte{7};
    EXPECT_EQ(memory.all().back(), std::byte{7});
    EXPECT_EQ(memory.all().front(), std::byte{0});
}

}  // namespace
}  // namespace understudy::machine
