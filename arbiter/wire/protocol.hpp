// What arbiter servers and their clients say to each other: messages on a TCP or TLS stream, cut from it by
// common/message_stream.hpp. The bytes of one message, little-endian:
//
//   u8 type, then the fields of that type one after the other, as the functions in protocol.cpp write them
//
// Integers are fixed-width; a string is its u32 length and its bytes, within the bounds given in vm_register.hpp and
// raft/types.hpp. In a request it may be longer, as long as the message is none too long; it is answered, and refused.
//
// Each side begins with one message: who dials says Hello, who is dialled says Welcome. Then a peer sends only Raft
// messages. (Each server dials every other one and is answered on the other's connection; only a server that joins, and
// does not know yet whom to dial, answers on the one it was dialled on.) A client sends Requests, each answered by one
// Reply with the same id, in any order. Whoever breaks a rule is disconnected.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "arbiter/raft/message.hpp"
#include "arbiter/raft/node.hpp"
#include "arbiter/register/state_machine.hpp"

namespace understudy::arbiter {

constexpr std::uint16_t kProtocolVersion = 5;
constexpr std::size_t kMaxMessageBytes = std::size_t{1} << 20U;
constexpr std::size_t kMaxFirstMessageBytes = 512;  // from somebody of whom nothing is known yet
constexpr std::size_t kMaxText = 1024;              // bytes of an explanation
constexpr std::size_t kListPage = 512;              // VMs in one ListReply

// What a server is told, or its peers' users are, that comes back under its number without what it knew.
constexpr const char* kOtherIncarnation =
    "it has lost the data that it had: remove it from the cluster, and add another one with another number";

struct Hello {
    enum class Kind : std::uint8_t { peer = 1, client = 2 };
    std::uint16_t version = kProtocolVersion;
    Kind kind = Kind::client;
    raft::NodeId id = 0;            // of a peer
    std::string cluster;            // must be the server's
    std::uint64_t incarnation = 0;  // of a peer (storage/identity.hpp)
    std::uint64_t founders = 0;     // of its cluster, as it was told them (storage/identity.hpp)

    bool operator==(const Hello&) const = default;
};

struct Welcome {
    raft::NodeId id = 0;            // the server's
    std::string refusal;            // empty: welcome; otherwise why not, and the connection ends
    std::uint64_t incarnation = 0;  // the server's; not told to whom it refuses

    bool operator==(const Welcome&) const = default;
};

// -- requests

struct Submit {  // form or test_and_set
    ClientId client;
    std::uint64_t sequence = 0;
    std::uint64_t answered_below = 0;
    VmOperation operation;
};
struct ReadRequest {
    VmId vm;
};
struct ListRequest {
    VmId after;
};
struct StatusRequest {};
struct AddServerRequest {
    raft::NodeId id = 0;
    std::string address;
};
struct RemoveServerRequest {
    raft::NodeId id = 0;
};
struct TransferRequest {
    raft::NodeId target = 0;  // 0: any
};
struct SnapshotNowRequest {};

struct Request {
    std::uint64_t id = 0;
    std::variant<Submit, ReadRequest, ListRequest, StatusRequest, AddServerRequest, RemoveServerRequest,
                 TransferRequest, SnapshotNowRequest>
        body;
};

// -- replies

struct Redirect {  // not done here: ask the leader (id 0: none known), or the same server again a little later
    raft::NodeId leader = 0;
    std::string address;
};
struct ReadReply {
    std::optional<VmState> state;
};
struct ListReply {
    std::vector<std::pair<VmId, VmState>> vms;
    bool more = false;
};
struct StatusReply {
    raft::Status raft;
    std::uint64_t vms = 0;
    std::uint64_t sessions = 0;
    std::uint64_t wal_bytes = 0;
    std::uint64_t snapshot_bytes = 0;
};
struct DoneReply {  // of the operator's requests; not done: why
    bool done = false;
    std::string text;
};

struct Reply {
    std::uint64_t id = 0;
    std::variant<Redirect, Answer, ReadReply, ListReply, StatusReply, DoneReply> body;
};

// One message on the wire. (What Raft calls a message is one alternative of it.)
using WireMessage = std::variant<Hello, Welcome, raft::Message, Request, Reply>;

[[nodiscard]] std::string encode_message(const WireMessage& message);
// nullopt: not exactly one well-formed message.
[[nodiscard]] std::optional<WireMessage> decode_message(std::string_view bytes);

}  // namespace understudy::arbiter
