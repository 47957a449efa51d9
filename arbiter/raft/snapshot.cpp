// Snapshots: log compaction and InstallSnapshot in chunks (paper §7, figure 13).
#include <algorithm>

#include "arbiter/mutation.hpp"
#include "arbiter/raft/node.hpp"

namespace understudy::raft {

void Node::compact(SnapshotPointer snapshot, Index trailing) {
    require(snapshot && snapshot->last_index <= applied_, "a snapshot is of applied state");
    if (snapshot->last_index <= snapshot_->last_index) {
        return;  // an installed one is newer
    }
    require(log_.term_at(snapshot->last_index) == snapshot->last_term, "a snapshot agrees with the log");
    snapshot_ = std::move(snapshot);
    const Index keep_from = snapshot_->last_index > trailing ? snapshot_->last_index - trailing : 0;
    if (keep_from > log_.base_index()) {
        log_.compact_to(keep_from);
    }
    // The configuration in force at the snapshot and all later ones.
    const auto later = std::find_if(configurations_.begin(), configurations_.end(),
                                    [&](const ConfigurationAt& at) { return at.index > snapshot_->last_index; });
    if (later - configurations_.begin() > 1) {
        configurations_.erase(configurations_.begin(), later - 1);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The leader: one chunk under way per follower, the next when it is acknowledged
// ---------------------------------------------------------------------------------------------------------------------

// `probe`: a heartbeat, without a chunk unless the last one seems lost.
void Node::send_snapshot(NodeId id, Peer& peer, bool probe) {
    if (!peer.sending) {
        peer.sending = snapshot_;
        peer.snapshot_offset = 0;
        probe = false;
    }
    const auto& data = peer.sending->data;
    SnapshotRequest request{peer.sending->last_index,
                            peer.sending->last_term,
                            peer.sending->configuration,
                            data.size(),
                            peer.snapshot_offset,
                            {},
                            round_};
    if (!probe || now_ - peer.chunk_sent >= 4 * options_.heartbeat_interval) {
        request.chunk = data.substr(peer.snapshot_offset, options_.snapshot_chunk);
        peer.chunk_sent = now_;
    }
    send(id, std::move(request));
}

void Node::on(const Message& message, const SnapshotReply& reply) {
    Peer* const answered = answering_peer(message, reply.round);
    if (answered == nullptr) {
        return;
    }
    Peer& peer = *answered;
    if (peer.state != Peer::State::snapshot || !peer.sending || reply.last_index != peer.sending->last_index) {
        return;
    }
    if (reply.installed) {
        peer.match = std::max(peer.match, reply.last_index);
        peer.next = peer.match + 1;
        peer.state = Peer::State::probe;
        peer.probe_sent = false;
        peer.sending = nullptr;
        advance_commit();
    } else if (reply.received != peer.snapshot_offset && reply.received <= peer.sending->data.size()) {
        peer.snapshot_offset = reply.received;
        send_snapshot(message.from, peer, false);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The follower
// ---------------------------------------------------------------------------------------------------------------------

void Node::on(const Message& message, SnapshotRequest& request) {
    SnapshotReply reply{request.last_index, 0, false, request.round};
    if (message.term < term_) {
        reply.round = 0;
        send(message.from, reply);
        return;
    }
    require(role_ != Role::leader, "one leader in a term (Election Safety)");
    become_follower(term_, message.from);
    leader_heard_ = now_;
    reset_election_timer();

    if (request.last_index <= commit_ || log_.term_at(request.last_index) == request.last_term) {
        // The log has it all already (figure 13, step 6).
        commit_ = std::max(commit_, request.last_index);
        incoming_.reset();
        reply.installed = true;
        send(message.from, reply);
        return;
    }
    if (request.total > options_.max_snapshot || request.configuration.voters() == 0) {
        return;  // refused: the leader's limits differ from ours
    }
    if (!incoming_ || incoming_->last_index != request.last_index || incoming_->last_term != request.last_term) {
        incoming_ = Incoming{request.last_index, request.last_term, {}};
    }
    auto& data = incoming_->data;
    if (request.offset == data.size() && data.size() + request.chunk.size() <= request.total) {
        data += request.chunk;
    }
    reply.received = data.size();
    // An empty snapshot is whole at once; otherwise an empty chunk is a heartbeat.
    if (data.size() == request.total) {
        install(std::make_shared<const Snapshot>(
            Snapshot{request.last_index, request.last_term, request.configuration, std::move(data)}));
        incoming_.reset();
        reply.installed = true;
    }
    send(message.from, reply);
}

void Node::install(SnapshotPointer snapshot) {
    require(snapshot->last_index > commit_, "a snapshot never takes a server back");
    log_.reset(snapshot->last_index, snapshot->last_term);
    commit_ = snapshot->last_index;
    configurations_ = {{snapshot->last_index, snapshot->configuration}};
    // Nothing that was written before counts any more.
    durable_ = 0;
    for (auto& write : pending_) {
        write.last_index = 0;
    }
    dirty_from_.reset();
    snapshot_ = snapshot;
    snapshot_dirty_ = snapshot;
    restore_ = std::move(snapshot);
}

}  // namespace understudy::raft
