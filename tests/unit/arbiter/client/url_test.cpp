#include <gtest/gtest.h>

#include "arbiter/client/engines.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {
namespace {

TEST(Url, ServersAndParameters) {
    const auto url = parse_url("raft://127.0.0.1:1,[::1]:2?cluster=mine");
    EXPECT_EQ(url.scheme, "raft");
    EXPECT_EQ(url.servers, (std::vector<Address>{{"127.0.0.1", 1}, {"::1", 2}}));
    EXPECT_EQ(url.parameter("cluster", ""), "mine");
    EXPECT_EQ(url.servers[1].text(), "[::1]:2");
}

TEST(Url, PlainTextIsForLoopbackOnly) {
    EXPECT_NO_THROW(static_cast<void>(parse_url("raft://127.0.0.1:1,localhost:2,[::1]:3")));
    EXPECT_THROW(static_cast<void>(parse_url("raft://10.0.0.1:1")), Error);
}

TEST(Url, MalformedOnesAreRefused) {
    for (const auto* text : {"", "raft", "http://a:1", "raft://", "raft://a", "raft://a:b", "raft://a:70000",
                             "raft://:1", "raft://127.0.0.1:1,", "raft://127.0.0.1:1?x=1", "raft://127.0.0.1:1?tls",
                             "raft://::1:1", "raft://127.0.0.1:1?tls=/nowhere/host-a", "etcd://a:1?tls=x"}) {
        EXPECT_THROW(static_cast<void>(parse_url(text)), Error) << text;
    }
}

}  // namespace
}  // namespace understudy::arbiter
