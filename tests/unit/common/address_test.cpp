#include "common/address.hpp"

#include <gtest/gtest.h>

#include "common/error.hpp"

namespace understudy {
namespace {

TEST(Address, HostsAndPortsAsUsersWriteThem) {
    EXPECT_EQ(parse_address("host.example:7001"), (Address{"host.example", 7001}));
    EXPECT_EQ(parse_address("[::1]:0"), (Address{"::1", 0}));
    EXPECT_EQ(parse_address("[::1]:80").text(), "[::1]:80");
    EXPECT_EQ(parse_addresses("a:1,b:2"), (std::vector<Address>{{"a", 1}, {"b", 2}}));
}

TEST(Address, TellsWhatStaysOnThisMachine) {
    EXPECT_TRUE(parse_address("127.0.0.1:1").loopback());
    EXPECT_TRUE(parse_address("localhost:1").loopback());
    EXPECT_TRUE(parse_address("[::1]:1").loopback());
    EXPECT_FALSE(parse_address("10.0.0.1:1").loopback());
}

TEST(Address, MalformedOnesAreRefused) {
    for (const auto* text : {"", "host", "host:", ":1", "host:x", "host:70000", "host:-1", "::1:1", "host:1 "}) {
        EXPECT_THROW(static_cast<void>(parse_address(text)), Error) << text;
    }
    EXPECT_THROW(static_cast<void>(parse_addresses("a:1,")), Error);
}

// What is taken for loopback is spoken to in plain text.
TEST(Address, LoopbackIsAnAddressAndNoNameThatLooksLikeOne) {
    for (const auto* host : {"localhost", "127.0.0.1", "127.1.2.3", "::1"}) {
        EXPECT_TRUE((Address{host, 1}.loopback())) << host;
    }
    for (const auto* host :
         {"127.example.org", "127.0.0.1.example.org", "128.0.0.1", "::", "0.0.0.0", "localhost.org"}) {
        EXPECT_FALSE((Address{host, 1}.loopback())) << host;
    }
}

}  // namespace
}  // namespace understudy
