#include "arbiter/wire/protocol.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace understudy::arbiter {
namespace {

constexpr std::string_view kCorpus = UNDERSTUDY_SOURCE_DIR "/tests/unit/arbiter/wire/corpus/wire_fuzz";

// One of each; their bytes are the fuzzer's corpus, in this order.
std::vector<WireMessage> examples() {
    raft::Configuration configuration;
    configuration.members[1] = {"h1:7001", true};
    configuration.members[2] = {"h2:7001", false};
    const std::vector<raft::Entry> entries{{8, 3, raft::EntryKind::no_op, ""},
                                           {9, 4, raft::EntryKind::configuration, configuration.encode()}};
    const auto from_peer = [](raft::Body body) { return raft::Message{1, 2, 4, std::move(body)}; };
    StatusReply status;
    status.raft.members.push_back({1, {"h1:7001", true}, 17, true});
    return {
        Hello{kProtocolVersion, Hello::Kind::peer, 3, "understudy", 77, 78},
        Welcome{1, "no", 0},
        from_peer(raft::VoteRequest{4, 7, 3, true, false}),
        from_peer(raft::VoteReply{4, false, true}),
        from_peer(raft::AppendRequest{7, 3, 5, 11, entries}),
        from_peer(raft::AppendReply{false, 7, 0, 2, 5, 11}),
        from_peer(raft::SnapshotRequest{7, 3, configuration, 10, 5, "chunk", 12}),
        from_peer(raft::SnapshotReply{7, 10, true, 12}),
        from_peer(raft::TimeoutNow{}),
        Request{5, Submit{{1, 2}, 3, 2, FormRequest{"vm", {1}, {2}, "a", {"a", "b"}}}},
        Request{6, Submit{{1, 2}, 4, 3, TestAndSetRequest{"vm", {2}, "a"}}},
        Request{7, ReadRequest{"vm"}},
        Request{8, ListRequest{"vm"}},
        Request{9, StatusRequest{}},
        Request{10, AddServerRequest{4, "h4:7001"}},
        Request{11, RemoveServerRequest{4}},
        Request{12, TransferRequest{2}},
        Request{13, SnapshotNowRequest{}},
        Reply{5, Redirect{2, "h2:7001"}},
        Reply{6, Answer{true, Reason::none, VmState{{2}, {"a", "b"}, "a"}}},
        Reply{7, ReadReply{VmState{{2}, {"a"}, std::nullopt}}},
        Reply{8, ListReply{{{"vm", VmState{{2}, {"a"}, std::nullopt}}}, true}},
        Reply{9, status},
        Reply{10, DoneReply{false, "why"}},
        Request{14, Submit{{1, 2}, 5, 3, EndRequest{"vm", {2}, "a"}}},
        Welcome{1, "", 78},
    };
}

TEST(Protocol, EveryMessageSurvivesTheWire) {
    for (const auto& message : examples()) {
        const auto bytes = encode_message(message);
        const auto decoded = decode_message(bytes);
        ASSERT_TRUE(decoded) << "message " << message.index();
        EXPECT_EQ(encode_message(*decoded), bytes);
    }
}

// A change of these bytes is a new version of the protocol.
TEST(Protocol, GoldenBytesOfEveryMessage) {
    const auto messages = examples();
    for (std::size_t i = 0; i < messages.size(); ++i) {
        const auto file = fmt::format("{}/message-{:02}", kCorpus, i);
        std::ifstream golden(file, std::ios::binary);
        EXPECT_EQ(encode_message(messages[i]), std::string(std::istreambuf_iterator<char>(golden), {})) << file;
    }
}

TEST(Protocol, ATruncatedOrLongerMessageIsRefused) {
    for (const auto& message : examples()) {
        const auto bytes = encode_message(message);
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            EXPECT_FALSE(decode_message(std::string_view(bytes).substr(0, size))) << "message " << message.index();
        }
        EXPECT_FALSE(decode_message(bytes + "x"));
    }
}

TEST(Protocol, GoldenBytesOfTheHandshake) {
    const std::string expected(
        "\x01"
        "UARB"
        "\x05\x00"
        "\x02"
        "\x00\x00\x00\x00\x00\x00\x00\x00"
        "\x03\x00\x00\x00"
        "abc"
        "\x00\x00\x00\x00\x00\x00\x00\x00"
        "\x02\x00\x00\x00\x00\x00\x00\x00",
        39);
    EXPECT_EQ(encode_message(Hello{kProtocolVersion, Hello::Kind::client, 0, "abc", 0, 2}), expected);
}

TEST(Protocol, EntriesThatDoNotFollowOneAnotherAreRefused) {
    const auto with = [](raft::Index index, raft::Term term) {
        return encode_message(
            raft::Message{1, 2, 9, raft::AppendRequest{7, 3, 0, 0, {{index, term, raft::EntryKind::command, "x"}}}});
    };
    EXPECT_TRUE(decode_message(with(8, 3)));
    EXPECT_FALSE(decode_message(with(9, 3)));
    EXPECT_FALSE(decode_message(with(8, 2)));
}

}  // namespace
}  // namespace understudy::arbiter
