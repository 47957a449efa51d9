// The core of an arbiter server, that is, one without its sockets, threads and clock: the Raft node, its durable
// storage, the state machine, and the requests that wait for them. Whoever drives it (the server on Boost.Asio,
// server.hpp, or the simulation) goes through the same turn again and again:
//
//   tick / receive / request / peer_lost …            any number of events
//   begin()                                           what may be sent at once
//   while (write_pending()) { write(); complete(); }  the group commit, and what may be sent after it
//
// Events may also come between write() and complete(): the write is then still under way.
//
// Not thread-safe. Throws understudy::Error when the disk fails: the server must stop, and has told nobody anything
// that is not on disk.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "arbiter/raft/node.hpp"
#include "arbiter/register/state_machine.hpp"
#include "arbiter/storage/identity.hpp"
#include "arbiter/storage/storage.hpp"
#include "arbiter/wire/protocol.hpp"

namespace understudy::arbiter {

struct ServerCoreOptions {
    raft::Options raft;
    // For a first start: the configuration of a new cluster; without members: this server joins one that runs. None:
    // this is no first start, and an empty directory is an error.
    std::optional<raft::Configuration> bootstrap;
    std::uint64_t incarnation = 0;       // for a first start: drawn at random (storage/identity.hpp)
    std::string cluster = "understudy";  // whose directory this is
    std::size_t segment_bytes = std::size_t{16} << 20U;
    raft::Index snapshot_after = 50'000;  // entries applied since the last snapshot
    raft::Index trailing = 5'000;         // entries kept in memory before a snapshot, for followers a little behind
    std::size_t max_waiting = 65'536;     // requests without an answer
};

// Who waits for a reply. The driver numbers its connections, the client its requests.
struct Caller {
    std::uint64_t connection = 0;
    std::uint64_t request = 0;
};

// What may be sent now.
struct Outgoing {
    std::vector<raft::Message> messages;
    std::vector<std::pair<std::uint64_t, Reply>> replies;  // connection, reply
};

// Since the start.
struct Counters {
    std::uint64_t elections_won = 0;
    std::uint64_t commands = 0;  // applied
    std::uint64_t repeated = 0;  // applied, and answered from the session
    std::uint64_t reads = 0;
    std::uint64_t redirects = 0;
    std::uint64_t writes = 0;  // group commits
    std::uint64_t entries_written = 0;
    std::uint64_t snapshots_taken = 0;
    std::uint64_t snapshots_installed = 0;
};

class ServerCore {
  public:
    // Recovers what is in the directory, which outlives the core.
    ServerCore(const ServerCoreOptions& options, Directory& directory, raft::Time now);

    void tick(raft::Time now);
    // Only from a server that was admitted.
    void receive(raft::Message message);
    void peer_lost(raft::NodeId peer) { node_.peer_lost(peer); }
    void request(std::uint64_t connection, Request request);

    [[nodiscard]] Outgoing begin();
    [[nodiscard]] bool write_pending() const { return write_.has_value(); }
    void write();
    [[nodiscard]] Outgoing complete();

    // A snapshot that the driver is to write with write_snapshot(), on whatever thread, and then to report; null: none.
    // One at a time.
    [[nodiscard]] raft::SnapshotPointer take_snapshot_to_write();
    void snapshot_written(const raft::SnapshotPointer& snapshot);

    // What this server says of itself to the others.
    [[nodiscard]] std::uint64_t incarnation() const { return identity_.incarnation(); }
    [[nodiscard]] std::uint64_t founders() const { return identity_.founders(); }
    // Whether this is a server of the same cluster: 0, of one that was not told, says nothing.
    [[nodiscard]] bool has_founders(std::uint64_t founders) const {
        return founders == 0 || identity_.founders() == 0 || founders == identity_.founders();
    }
    // Whether a server that says it is this one may be spoken with: not when it was another before. Durable at once.
    [[nodiscard]] bool admits(raft::NodeId peer, std::uint64_t incarnation);
    // This peer has admitted this server.
    void admitted_by(raft::NodeId peer);
    // A server of a new cluster takes part when every other has admitted it once.
    [[nodiscard]] bool takes_part() const { return identity_.introduced(); }

    [[nodiscard]] const raft::Node& node() const { return node_; }
    [[nodiscard]] const Storage& storage() const { return storage_; }
    [[nodiscard]] const Counters& counters() const { return counters_; }
    [[nodiscard]] StatusReply status() const;
    // Hands leadership over, before a stop. False: this server does not lead, or nobody could take over.
    bool resign();

    // Told of every command as it is applied, if it is set; for the simulation, which checks each.
    std::function<void(raft::Index, const Command&, const Applied&)> on_applied;

  private:
    struct Waiting {
        Caller caller;
        raft::Term term = 0;
    };
    struct WaitingRead {
        Caller caller;
        std::variant<ReadRequest, ListRequest> request;
    };

    void handle(const Caller& caller, Submit& submit);
    void handle(const Caller& caller, ReadRequest& read);
    void handle(const Caller& caller, ListRequest& list);
    void handle(const Caller& caller, StatusRequest& status);
    void handle(const Caller& caller, AddServerRequest& add);
    void handle(const Caller& caller, RemoveServerRequest& remove);
    void handle(const Caller& caller, TransferRequest& transfer);
    void handle(const Caller& caller, SnapshotNowRequest& snapshot);
    template <typename Query>
    void queue_read(const Caller& caller, Query& query);
    void await(const Caller& caller, const raft::Proposal& proposal);
    void refuse(const Caller& caller, raft::Refusal refusal);

    void apply(const raft::Entry& entry);
    void restore(const raft::Snapshot& snapshot);
    void answer_read(const raft::ReadResult& result);
    void after_role_change();
    void consider_snapshot();
    template <typename Body>
    void reply(const Caller& caller, Body body);
    [[nodiscard]] Redirect redirect() const;
    [[nodiscard]] ListReply list_page(const VmId& after) const;

    ServerCoreOptions options_;
    Storage storage_;
    raft::Node node_;
    Identity identity_;
    std::set<raft::NodeId> admitted_by_;
    StateMachine machine_;
    Counters counters_;
    raft::Time now_;

    std::optional<raft::Write> write_;
    bool written_ = false;
    std::map<raft::Index, Waiting> waiting_;  // for the entry at an index
    std::unordered_map<std::uint64_t, WaitingRead> reads_;
    std::uint64_t next_read_ = 1;
    Outgoing outgoing_;

    // The leader's clock for the log (state_machine.hpp): where it was when this server began to lead, and when that
    // was.
    raft::Term led_term_ = 0;
    bool established_ = false;
    LogClock clock_base_{0};
    raft::Time clock_since_{0};

    raft::SnapshotPointer snapshot_to_write_;
    bool snapshot_under_way_ = false;
    bool snapshot_requested_ = false;
};

}  // namespace understudy::arbiter
