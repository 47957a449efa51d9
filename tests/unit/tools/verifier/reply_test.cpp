#include "tools/verifier/reply.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace understudy::tools {
namespace {

using Status = DecodedReply::Status;

TEST(DecodeReply, EveryKind) {
    const auto expect = [](std::string_view bytes, const Reply& reply) {
        const auto decoded = decode_reply(std::string(bytes) + "+NEXT\r\n");
        ASSERT_EQ(decoded.status, Status::reply) << bytes;
        EXPECT_EQ(decoded.reply, reply) << bytes;
        EXPECT_EQ(decoded.size, bytes.size());
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            EXPECT_EQ(decode_reply(bytes.substr(0, size)).status, Status::need_more) << bytes << size;
        }
    };
    expect("+OK\r\n", {.kind = Reply::Kind::status, .text = "OK"});
    expect("-ERR no\r\n", {.kind = Reply::Kind::error, .text = "ERR no"});
    expect(":-42\r\n", {.kind = Reply::Kind::integer, .integer = -42});
    expect("$5\r\na\r\nbc\r\n", {.kind = Reply::Kind::text, .text = "a\r\nbc"});
    expect("$0\r\n\r\n", {.kind = Reply::Kind::text, .text = ""});
    expect("$-1\r\n", {.kind = Reply::Kind::nil});
}

TEST(DecodeReply, WhatIsNoReplyIsMalformed) {
    for (const std::string_view bytes : {"\r\n", "hello\r\n", ":x\r\n", ":1x\r\n", ":\r\n", "$-2\r\n", "$x\r\n",
                                         "$1\r\nab\r\n", "$99999999999999999999\r\n", "$70000\r\n", "*1\r\n"}) {
        EXPECT_EQ(decode_reply(bytes).status, Status::malformed) << bytes;
    }
    EXPECT_EQ(decode_reply(std::string(5000, '+')).status, Status::malformed);
}

TEST(DecodeList, TakesArraysApart) {
    const std::string nested = "*3\r\n$6\r\nmaster\r\n:17\r\n*2\r\n*2\r\n$1\r\na\r\n*-1\r\n*0\r\n";
    const auto decoded = decode_list(nested + "+NEXT\r\n");
    ASSERT_EQ(decoded.status, Status::reply);
    EXPECT_EQ(decoded.size, nested.size());
    const std::vector<Reply> expected = {{.kind = Reply::Kind::text, .text = "master"},
                                         {.kind = Reply::Kind::integer, .integer = 17},
                                         {.kind = Reply::Kind::text, .text = "a"},
                                         {.kind = Reply::Kind::nil}};
    EXPECT_EQ(decoded.replies, expected);
    for (std::size_t size = 0; size < nested.size(); ++size) {
        EXPECT_EQ(decode_list(std::string_view(nested).substr(0, size)).status, Status::need_more) << size;
    }
}

TEST(DecodeList, OfWhatIsNoArrayHasOne) {
    const auto decoded = decode_list("-ERR no\r\n");
    ASSERT_EQ(decoded.status, Status::reply);
    EXPECT_EQ(decoded.replies, (std::vector<Reply>{{.kind = Reply::Kind::error, .text = "ERR no"}}));
    EXPECT_EQ(decode_list("*0\r\n").replies.size(), 0U);
}

TEST(DecodeList, HasBounds) {
    for (const std::string_view bytes : {"*-2\r\n", "*x\r\n", "*\r\n", "*1\r\nhello\r\n", "*4097\r\n",
                                         "*99999999999999999999\r\n", "*4096\r\n*4096\r\n:1\r\n"}) {
        EXPECT_EQ(decode_list(bytes).status, Status::malformed) << bytes;
    }
    std::string deep;
    while (deep.size() < 2 * kMaxReplySize) {
        deep += "*1\r\n";
    }
    EXPECT_EQ(decode_list(deep).status, Status::malformed);
}

}  // namespace
}  // namespace understudy::tools
