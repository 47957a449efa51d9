// The vocabulary of the Raft core: terms, log entries, configurations, snapshots.
//
// Names follow D. Ongaro and J. Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014; cited as "paper
// §") and D. Ongaro, "Consensus: Bridging Theory and Practice" (2014; cited as "dissertation §").
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/require.hpp"

namespace understudy::raft {

using NodeId = std::uint64_t;  // 0 names no server
using Term = std::uint64_t;    // 0: before the first election
using Index = std::uint64_t;   // the log's first entry has index 1

// Time since some origin that the driver chooses. Only differences count, and only for how soon something happens: no
// answer becomes wrong by a wrong clock.
using Time = std::chrono::microseconds;

enum class EntryKind : std::uint8_t {
    no_op = 1,          // opens a leader's term (paper §8)
    command = 2,        // for the state machine
    configuration = 3,  // a Configuration, encoded (dissertation §4.1)
};

// For decoders: does this byte name a kind?
[[nodiscard]] constexpr bool is_entry_kind(std::uint8_t byte) {
    return byte >= 1 && byte <= 3;
}

struct Entry {
    Index index = 0;
    Term term = 0;
    EntryKind kind = EntryKind::no_op;
    std::string data;

    bool operator==(const Entry&) const = default;
};

// What a server must remember besides its log (paper, figure 2, "persistent state").
struct HardState {
    Term term = 0;
    NodeId voted_for = 0;

    bool operator==(const HardState&) const = default;
};

struct Member {
    std::string address;  // where its peers reach it; opaque to the core
    bool voting = true;   // a new server first catches up without a vote (dissertation §4.2.1)
    // Of a server that was added: which one got the vote, should another come under its number. 0: the first servers'.
    std::uint64_t incarnation = 0;

    bool operator==(const Member&) const = default;
};

// The servers of the cluster, kMaxMembers at the most.
struct Configuration {
    std::map<NodeId, Member> members;

    bool operator==(const Configuration&) const = default;
    [[nodiscard]] bool contains(NodeId id) const { return members.contains(id); }
    [[nodiscard]] bool votes(NodeId id) const;
    [[nodiscard]] std::size_t voters() const;
    [[nodiscard]] std::size_t majority() const { return voters() / 2 + 1; }

    // u32 number of members, then for each, by rising id: u64 id, u8 1 if it votes, plus 2 if it has an incarnation,
    // u32 length and bytes of its address, u64 incarnation if it has one.
    [[nodiscard]] std::string encode() const;
    // nullopt: bytes that encode() never makes, or nobody in it votes.
    static std::optional<Configuration> decode(std::string_view bytes);
};
constexpr std::size_t kMaxMembers = 9;
constexpr std::size_t kMaxAddress = 256;                           // bytes
constexpr std::size_t kMaxConfiguration = std::size_t{16} * 1024;  // bytes, encoded

// The state machine as it was after entry `last_index`; stands in for the log up to there (paper §7).
struct Snapshot {
    Index last_index = 0;
    Term last_term = 0;
    Configuration configuration;
    std::string data;
};
using SnapshotPointer = std::shared_ptr<const Snapshot>;

enum class Role : std::uint8_t { follower, pre_candidate, candidate, leader };
[[nodiscard]] std::string_view name(Role role);

}  // namespace understudy::raft
