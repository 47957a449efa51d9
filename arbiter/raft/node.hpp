// One Raft server as a pure state machine: events in, effects out. No socket, thread, file or clock is inside.
//
//   driver:   node.tick(now) | receive(message) | propose(data) | read(context) | persisted(sequence) | ...
//             effects = node.take_effects()
//
// What the driver does with the effects, in this order:
//   1. It sends `messages`. They may go at once and in any order, be lost or repeated: the node itself holds back every
//      message that depends on something not yet durable, until persisted() says that it is (paper, figure 2, "updated
//      on stable storage before responding to RPCs"). A leader's AppendEntries need not wait for its own disk
//      (dissertation §10.2.1).
//   2. It puts `write` on stable storage. Several may be under way, one after the other. When this one and all before
//   it
//      are durable, it calls persisted(write.sequence).
//   3. It replaces the state machine by `restore`, if that is set, and then applies `committed` to it, in order.
//   4. It answers `reads`.
// Spans point into the node's log: they are valid until the next event.
//
// One file per concern: election.cpp, replication.cpp, snapshot.cpp, membership.cpp, read_index.cpp, transfer.cpp.
// Roles change in node.cpp alone.
//
// Not thread-safe. Throws nothing; a broken invariant aborts.
#pragma once

#include <deque>
#include <set>
#include <span>

#include "arbiter/raft/log.hpp"
#include "arbiter/raft/message.hpp"
#include "arbiter/raft/types.hpp"

namespace understudy::raft {

struct Options {
    NodeId id = 0;
    Time heartbeat_interval = std::chrono::milliseconds(40);
    // A follower that hears no leader stands for election after a random time between one and two of these.
    Time election_timeout = std::chrono::milliseconds(200);
    std::size_t max_append_bytes = std::size_t{256} * 1024;  // of entries in one AppendEntries; one entry always goes
    std::size_t max_in_flight = 64;                          // AppendEntries without an answer, for each follower
    std::size_t snapshot_chunk = std::size_t{256} * 1024;    // bytes in one InstallSnapshot
    std::size_t max_snapshot = std::size_t{1} << 30U;        // bytes; a larger one is refused
    std::size_t max_uncommitted = std::size_t{64} * 1024 * 1024;  // bytes of proposals beyond which no more are taken
    std::size_t max_reads = 65536;                                // linearizable reads without an answer
    std::uint64_t seed = 1;                                       // of the election timeouts
};

// What the server finds on its disk at start.
struct Restored {
    HardState hard_state;
    SnapshotPointer snapshot;  // never null: a new cluster starts from an empty one with its first configuration
    Index base_index = 0;      // of the entry before the first of `entries`; the snapshot covers it
    Term base_term = 0;
    std::vector<Entry> entries;
};

// What is to be durable, in this order; what is not set stays as it is on the disk.
struct Write {
    std::uint64_t sequence = 0;
    std::optional<HardState> hard_state;
    SnapshotPointer snapshot;        // replaces the whole log (paper, figure 13, step 7)
    std::span<const Entry> entries;  // replace whatever the log has from the first one's index on
};

struct ReadResult {
    std::uint64_t context = 0;  // as given to read()
    bool confirmed = false;     // answer it from the state machine as it is now; false: leads no more, ask another
};

struct Effects {
    std::vector<Message> messages;
    std::optional<Write> write;
    SnapshotPointer restore;
    std::span<const Entry> committed;
    std::vector<ReadResult> reads;
};

enum class Refusal : std::uint8_t {
    none,
    not_leader,
    busy,        // too much is under way: a transfer, another membership change, too many proposals
    not_ready,   // the leader has not yet committed an entry of its own term
    unknown_id,  // no such member
    invalid,     // the change makes no sense: already a member, the last voter, too many members
};
[[nodiscard]] std::string_view name(Refusal refusal);

struct Proposal {
    Refusal refusal = Refusal::none;
    Index index = 0;  // where the entry is, in this term, if it was taken
};

struct MemberStatus {
    NodeId id = 0;
    Member member;
    Index match_index = 0;  // known to the leader only
    bool active = false;    // the leader heard from it within the election timeout
};

struct Status {
    NodeId id = 0;
    Role role = Role::follower;
    Term term = 0;
    NodeId leader = 0;
    Index commit_index = 0;
    Index applied_index = 0;
    Index last_index = 0;
    Index snapshot_index = 0;
    std::vector<MemberStatus> members;
};

class Node {
  public:
    Node(const Options& options, Restored restored, Time now);

    // -- events
    void tick(Time now);  // at next_due() or soon after, and before every other event
    // When tick() has something to do, if nothing else happens before.
    [[nodiscard]] Time next_due() const;
    void receive(Message message);
    // The write with this number, and all before it, are durable.
    void persisted(std::uint64_t sequence);
    // The connection to a peer broke. A follower that loses its leader so asks for an election soon instead of waiting
    // its timeout out; PreVote keeps that harmless when the others still hear the leader.
    void peer_lost(NodeId peer);
    // Which incarnation of a server this one has to do with (arbiter/storage/identity.hpp): the leader writes it beside
    // the vote that it gives a server that was added.
    void met(NodeId peer, std::uint64_t incarnation) { met_[peer] = incarnation; }
    // A command for the state machine. Taken is not committed: another leader's entry may yet have its place.
    [[nodiscard]] Proposal propose(std::string data);
    // A linearizable read: its `context`, any number, comes back in Effects::reads.
    [[nodiscard]] Refusal read(std::uint64_t context);
    // The new server has no vote until it has caught up.
    [[nodiscard]] Proposal add_server(NodeId id, std::string address);
    [[nodiscard]] Proposal remove_server(NodeId id);
    [[nodiscard]] Refusal transfer_leadership(NodeId target);  // 0: whoever is most up to date
    // The driver has made a snapshot of the applied state durable. The log keeps `trailing` entries before it, for
    // followers that are only a little behind.
    void compact(SnapshotPointer snapshot, Index trailing);

    // All that is to be done since the last time.
    [[nodiscard]] Effects take_effects();

    // -- state
    [[nodiscard]] Role role() const { return role_; }
    [[nodiscard]] Term term() const { return term_; }
    [[nodiscard]] NodeId id() const { return options_.id; }
    [[nodiscard]] NodeId leader() const { return leader_; }
    [[nodiscard]] Index commit_index() const { return commit_; }
    [[nodiscard]] Index applied_index() const { return applied_; }
    [[nodiscard]] const Log& log() const { return log_; }
    [[nodiscard]] const Configuration& configuration() const { return configurations_.back().configuration; }
    [[nodiscard]] const SnapshotPointer& snapshot() const { return snapshot_; }
    // Leader, and an entry of its own term is committed: its commit index is the cluster's (paper §8).
    [[nodiscard]] bool established() const;
    // A snapshot of what is applied now, without its data.
    [[nodiscard]] Snapshot snapshot_point() const;
    [[nodiscard]] Status status() const;

  private:
    struct ConfigurationAt {
        Index index = 0;
        Configuration configuration;
    };
    // What the leader knows of one other server (paper, figure 2, nextIndex and matchIndex).
    struct Peer {
        enum class State : std::uint8_t {
            probe,      // where the logs agree is not known: one message at a time
            replicate,  // entries are sent as they come, without waiting for answers
            snapshot,   // what it needs is compacted away
        };
        State state = State::probe;
        bool probe_sent = false;
        Index match = 0;
        Index next = 1;
        std::deque<Index> in_flight;  // last index of each unanswered AppendEntries with entries
        std::uint64_t round = 0;      // newest heartbeat round it answered
        Time heard{0};
        SnapshotPointer sending;
        std::uint64_t snapshot_offset = 0;
        Time chunk_sent{0};
    };
    struct PendingWrite {
        std::uint64_t sequence = 0;
        Index last_index = 0;
    };
    struct HeldMessage {
        std::uint64_t sequence = 0;
        Message message;
    };
    struct PendingRead {
        std::uint64_t context = 0;
        std::uint64_t round = 0;  // 0: not yet asked
        Index index = 0;
    };

    // node.cpp: roles, durability, outgoing messages
    void become_follower(Term term, NodeId leader);
    void become_pre_candidate();
    void become_candidate(bool transfer);
    void become_leader();
    void abandon_leadership();
    void set_hard_state(Term term, NodeId voted_for);
    [[nodiscard]] bool dirty() const;
    [[nodiscard]] std::uint64_t hard_state_dependency() const;
    [[nodiscard]] std::uint64_t write_dependency() const;
    void send(NodeId to, Body body);
    void send_when(std::uint64_t sequence, Message message);
    [[nodiscard]] bool heard_leader_recently() const;
    void reset_election_timer();
    [[nodiscard]] std::uint64_t random(std::uint64_t bound);

    // election.cpp
    void campaign(bool pre_vote, bool transfer);
    void on(const Message& message, const VoteRequest& request);
    void on(const Message& message, const VoteReply& reply);
    [[nodiscard]] bool up_to_date(const VoteRequest& request) const;

    // replication.cpp
    Index append_own(EntryKind kind, std::string data);
    void truncate_from(Index index);
    void stand_soon();
    void broadcast_heartbeat();
    void replicate(NodeId id, Peer& peer);
    void send_append(NodeId id, Peer& peer, bool with_entries);
    [[nodiscard]] Peer* answering_peer(const Message& message, std::uint64_t round);
    void on(const Message& message, AppendRequest& request);
    void on(const Message& message, const AppendReply& reply);
    void advance_commit();
    void check_quorum();
    [[nodiscard]] AppendReply accept_append(AppendRequest& request);

    // snapshot.cpp
    void send_snapshot(NodeId id, Peer& peer, bool probe);
    void on(const Message& message, SnapshotRequest& request);
    void on(const Message& message, const SnapshotReply& reply);
    void install(SnapshotPointer snapshot);

    // membership.cpp
    [[nodiscard]] Refusal may_change() const;
    [[nodiscard]] bool may_lead() const;
    Index change_configuration(Configuration configuration);
    void take_configuration(Index index, Configuration configuration);
    void sync_peers();
    void promote_if_caught_up(NodeId id);
    void after_commit_of_configuration();

    // read_index.cpp
    void start_reads();
    void finish_reads();

    // transfer.cpp
    [[nodiscard]] bool transferring() const { return transfer_target_ != 0; }
    void continue_transfer();
    void on(const Message& message, const TimeoutNow& request);

    Options options_;
    std::map<NodeId, std::uint64_t> met_;
    std::uint64_t random_state_;
    Time now_;

    // Persistent state (paper, figure 2)
    Term term_ = 0;
    NodeId voted_for_ = 0;
    Log log_;
    SnapshotPointer snapshot_;
    std::vector<ConfigurationAt> configurations_;  // the newest in the log is the one in force, committed or not

    // Volatile state
    Role role_ = Role::follower;
    NodeId leader_ = 0;
    Index commit_ = 0;
    Index applied_ = 0;  // handed out in effects
    Time election_deadline_{0};
    Time leader_heard_{0};
    std::set<NodeId> votes_;

    // As leader
    std::map<NodeId, Peer> peers_;
    Time heartbeat_due_{0};
    Time quorum_check_due_{0};
    Index term_start_ = 0;  // index of the no-op of this term
    std::size_t uncommitted_bytes_ = 0;
    std::uint64_t round_ = 0;
    std::deque<PendingRead> reads_;
    NodeId transfer_target_ = 0;
    bool transfer_sent_ = false;
    Time transfer_deadline_{0};

    // Durability
    std::uint64_t next_sequence_ = 1;
    std::uint64_t hard_state_sequence_ = 0;  // the write that carries the newest hard state
    std::uint64_t persisted_sequence_ = 0;
    bool hard_state_dirty_ = false;
    std::optional<Index> dirty_from_;
    SnapshotPointer snapshot_dirty_;
    Index durable_ = 0;  // the log is on disk up to here
    std::deque<PendingWrite> pending_;
    std::deque<HeldMessage> held_;

    // Snapshot being received, and one that waits to be durable before it is applied
    struct Incoming {
        Index last_index = 0;
        Term last_term = 0;
        std::string data;
    };
    std::optional<Incoming> incoming_;
    SnapshotPointer restore_;

    // Effects collected so far
    std::vector<Message> messages_;
    std::vector<ReadResult> finished_reads_;
};

}  // namespace understudy::raft
