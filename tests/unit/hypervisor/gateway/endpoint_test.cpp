#include "hypervisor/gateway/endpoint.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/error.hpp"
#include "hypervisor/gateway/user_network.hpp"

namespace understudy::network {
namespace {

TEST(Endpoint, BothFormsAreRead) {
    EXPECT_EQ(parse_endpoint("unix:/run/x.sock").unix_path(), "/run/x.sock");
    EXPECT_EQ(parse_endpoint("127.0.0.1:80").address.ss_family, AF_INET);
    EXPECT_EQ(parse_endpoint("[::1]:80").address.ss_family, AF_INET6);
    EXPECT_EQ(parse_endpoint("unix:/run/x.sock").port(), 0);
    EXPECT_EQ(parse_endpoint("127.0.0.1:80").port(), 80);
    EXPECT_EQ(parse_endpoint("[::1]:81").port(), 81);
}

TEST(Endpoint, WhatIsNoneIsRefused) {
    for (const char* text : {"", "unix:", "nohost", ":80", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536",
                             "127.0.0.1:99999", "127.0.0.1:-1"}) {
        EXPECT_THROW((void)parse_endpoint(text), Error) << text;
    }
    EXPECT_THROW((void)parse_endpoint("unix:" + std::string(200, 'x')), Error);
}

class UnixListener : public ::testing::Test {
  public:
    UnixListener() : path_(std::filesystem::temp_directory_path() / ("endpoint-" + std::to_string(::getpid()))) {}
    ~UnixListener() override { std::filesystem::remove(path_); }

  protected:
    std::filesystem::path path_;
};

TEST_F(UnixListener, RemovesItsFile) {
    {
        const ListeningSocket socket(parse_endpoint("unix:" + path_.string()));
        EXPECT_TRUE(std::filesystem::is_socket(path_));
    }
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(UnixListener, ReplacesTheFileOfADeadProcessOnly) {
    const auto endpoint = parse_endpoint("unix:" + path_.string());
    {
        const FileDescriptor dead(::socket(AF_UNIX, SOCK_STREAM, 0));
        ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&endpoint.address), endpoint.length), 0);
    }
    ASSERT_TRUE(std::filesystem::is_socket(path_));
    const ListeningSocket alive(endpoint);
    EXPECT_THROW(ListeningSocket{endpoint}, Error);
    EXPECT_TRUE(std::filesystem::is_socket(path_));
}

TEST_F(UnixListener, LeavesAFileThatIsNoSocketAlone) {
    std::ofstream(path_) << "precious";
    EXPECT_THROW(ListeningSocket{parse_endpoint("unix:" + path_.string())}, Error);
    EXPECT_EQ(std::filesystem::file_size(path_), 8U);
}

TEST(Listener, APortInUseIsAnError) {
    const ListeningSocket first(parse_endpoint("127.0.0.1:0"));
    EXPECT_THROW(ListeningSocket{parse_endpoint(first.text())}, Error);
}

TEST(ParseForward, ReadsAllFields) {
    const auto forward = parse_forward("udp:192.168.1.2:53:5353");
    EXPECT_EQ(
        forward,
        (Forward{.protocol = Forward::Protocol::udp, .host_address = 0xc0a80102, .host_port = 53, .guest_port = 5353}));
    EXPECT_EQ(to_string(forward), "udp:192.168.1.2:53:5353");
}

TEST(ParseForward, WhatIsNoneIsRefused) {
    for (const char* text :
         {"", "tcp", "tcp:127.0.0.1:80", "sctp:127.0.0.1:80:80", "tcp:localhost:80:80", "tcp:127.0.0.1:0:80",
          "tcp:127.0.0.1:80:65536", "tcp:127.0.0.1:80:80:80", "tcp:127.0.0.1:80x:80", "tcp:127.0.0.1::80"}) {
        EXPECT_THROW((void)parse_forward(text), Error) << text;
    }
}

}  // namespace
}  // namespace understudy::network
