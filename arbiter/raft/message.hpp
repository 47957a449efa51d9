// What Raft servers say to each other. Requests and replies as in the paper's figures 2 and 13; the additions cite the
// dissertation.
#pragma once

#include <variant>

#include "arbiter/raft/types.hpp"

namespace understudy::raft {

// RequestVote (paper §5.2) and, with `pre_vote`, the question whether a vote would be granted (dissertation §9.6).
struct VoteRequest {
    Term for_term = 0;  // the term that the candidate would lead: its own, or with `pre_vote` the one after it
    Index last_index = 0;
    Term last_term = 0;
    bool pre_vote = false;
    bool transfer = false;  // the leader itself asked for this election (dissertation §3.10)

    bool operator==(const VoteRequest&) const = default;
};

struct VoteReply {
    Term for_term = 0;
    bool pre_vote = false;
    bool granted = false;

    bool operator==(const VoteReply&) const = default;
};

// AppendEntries (paper §5.3). Without entries it is the heartbeat.
struct AppendRequest {
    Index previous_index = 0;
    Term previous_term = 0;
    Index commit_index = 0;
    std::uint64_t round = 0;  // the leader's newest round of heartbeats; the answer repeats it (dissertation §6.4)
    std::vector<Entry> entries;

    bool operator==(const AppendRequest&) const = default;
};

struct AppendReply {
    bool success = false;
    Index previous_index = 0;  // of the request that is answered
    Index match_index = 0;     // success: the follower's log equals the leader's up to here, durably
    // Failure: from where the leader may try again (paper §5.3, the end). If the follower has another entry at
    // previous_index, that entry's term and the index of its first entry of that term. If its log ends before, term 0
    // and the index after its last entry.
    Term conflict_term = 0;
    Index conflict_index = 0;
    std::uint64_t round = 0;

    bool operator==(const AppendReply&) const = default;
};

// InstallSnapshot (paper §7, figure 13), one chunk.
struct SnapshotRequest {
    Index last_index = 0;
    Term last_term = 0;
    Configuration configuration;
    std::uint64_t total = 0;   // size of the whole snapshot in bytes
    std::uint64_t offset = 0;  // of this chunk
    std::string chunk;
    std::uint64_t round = 0;

    bool operator==(const SnapshotRequest&) const = default;
};

struct SnapshotReply {
    Index last_index = 0;
    std::uint64_t received = 0;  // bytes that the follower has from the start
    bool installed = false;      // the whole of it, durably
    std::uint64_t round = 0;

    bool operator==(const SnapshotReply&) const = default;
};

// TimeoutNow (dissertation §3.10): start an election at once.
struct TimeoutNow {
    bool operator==(const TimeoutNow&) const = default;
};

using Body =
    std::variant<VoteRequest, VoteReply, AppendRequest, AppendReply, SnapshotRequest, SnapshotReply, TimeoutNow>;

struct Message {
    NodeId from = 0;
    NodeId to = 0;
    Term term = 0;  // the sender's term when it spoke
    Body body;

    bool operator==(const Message&) const = default;
};

}  // namespace understudy::raft
