#include "common/tls/pace.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <string_view>

#include "common/file_descriptor.hpp"

namespace understudy::tls {
namespace {

using namespace std::chrono_literals;

TEST(Pace, LetsACrowdInAtOnceAndThoseBehindItOneByOne) {
    Pace pace;
    auto now = Pace::Clock::now();
    int crowd = 0;
    while (pace.wait(now) == 0ns) {
        pace.accepted(now);
        ++crowd;
    }
    EXPECT_GE(crowd, 20);
    EXPECT_LE(crowd, 100);
    int later = 0;
    for (const auto end = now + 1s; now < end;) {
        now += pace.wait(now);
        pace.accepted(now);
        ++later;
    }
    EXPECT_GE(later, 20);
    EXPECT_LE(later, 60);
    EXPECT_EQ(pace.wait(now + 10s), 0ns) << "it forgets";
}

TEST(Pace, SeesWhoHasLeftWhateverWasSaid) {
    for (const std::string_view said : {"", "a ClientHello"}) {
        std::array<int, 2> fds{};
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
        const FileDescriptor acceptor(fds[0]);
        FileDescriptor dialer(fds[1]);
        ASSERT_EQ(::write(dialer.get(), said.data(), said.size()), static_cast<ssize_t>(said.size()));
        EXPECT_FALSE(has_left(acceptor.get())) << said;
        dialer.reset();
        EXPECT_TRUE(has_left(acceptor.get())) << said;
    }
}

}  // namespace
}  // namespace understudy::tls
