// Log replication: paper §5.3, commitment §5.4.2.
#include <algorithm>
#include <utility>

#include "arbiter/mutation.hpp"
#include "arbiter/raft/node.hpp"

namespace understudy::raft {

// ---------------------------------------------------------------------------------------------------------------------
// The leader
// ---------------------------------------------------------------------------------------------------------------------

Index Node::append_own(EntryKind kind, std::string data) {
    require(role_ == Role::leader, "only a leader makes entries (Leader Append-Only)");
    const Index index = log_.last_index() + 1;
    log_.append({index, term_, kind, std::move(data)});
    dirty_from_ = std::min(dirty_from_.value_or(index), index);
    return index;
}

void Node::broadcast_heartbeat() {
    heartbeat_due_ = now_ + options_.heartbeat_interval;
    ++round_;
    for (auto& [id, peer] : peers_) {
        if (peer.state == Peer::State::snapshot) {
            send_snapshot(id, peer, true);
        } else {
            send_append(id, peer, peer.state == Peer::State::probe);
        }
    }
}

// Sends what the peer lacks, as far as the flow control allows.
void Node::replicate(NodeId id, Peer& peer) {
    if (peer.state == Peer::State::snapshot || (peer.state == Peer::State::probe && peer.probe_sent)) {
        return;
    }
    while (peer.next <= log_.last_index() && peer.in_flight.size() < options_.max_in_flight) {
        send_append(id, peer, true);
        if (peer.state != Peer::State::replicate) {
            break;
        }
    }
}

void Node::send_append(NodeId id, Peer& peer, bool with_entries) {
    const Index previous = peer.next - 1;
    const auto previous_term = log_.term_at(previous);
    if (!previous_term) {
        peer.state = Peer::State::snapshot;
        peer.sending = nullptr;
        send_snapshot(id, peer, false);
        return;
    }
    AppendRequest request{previous, *previous_term, commit_, round_, {}};
    if (with_entries) {
        std::size_t bytes = 0;
        for (const auto& entry : log_.range(peer.next, log_.last_index())) {
            if (!request.entries.empty() && bytes + entry.data.size() > options_.max_append_bytes) {
                break;
            }
            bytes += entry.data.size() + sizeof(Entry);
            request.entries.push_back(entry);
        }
    }
    if (peer.state == Peer::State::probe) {
        peer.probe_sent = true;
    } else if (!request.entries.empty()) {
        peer.next += request.entries.size();  // it will most likely arrive
        peer.in_flight.push_back(peer.next - 1);
    }
    send(id, std::move(request));
}

// The follower whose answer this is, to a message of that round of heartbeats; nullptr: not to this server as leader of
// its present term.
Node::Peer* Node::answering_peer(const Message& message, std::uint64_t round) {
    const auto it = peers_.find(message.from);
    if (role_ != Role::leader || message.term != term_ || it == peers_.end()) {
        return nullptr;
    }
    it->second.round = std::max(it->second.round, round);
    return &it->second;
}

void Node::on(const Message& message, const AppendReply& reply) {
    Peer* const answered = answering_peer(message, reply.round);
    if (answered == nullptr) {
        return;
    }
    Peer& peer = *answered;
    if (reply.success) {
        if (reply.match_index > log_.last_index()) {
            return;  // cannot be: it would have entries of this term that were never sent
        }
        peer.match = std::max(peer.match, reply.match_index);
        peer.next = std::max(peer.next, peer.match + 1);
        while (!peer.in_flight.empty() && peer.in_flight.front() <= peer.match) {
            peer.in_flight.pop_front();
        }
        if (peer.state == Peer::State::probe) {
            peer.state = Peer::State::replicate;
            peer.in_flight.clear();
        }
        advance_commit();
        if (role_ == Role::leader) {
            promote_if_caught_up(message.from);
            continue_transfer();
        }
        return;
    }
    // Refused: step back (paper §5.3). Answers to requests that later ones have overtaken tell nothing new.
    const bool stale = peer.state == Peer::State::snapshot || reply.previous_index <= peer.match ||
                       (peer.state == Peer::State::probe && reply.previous_index != peer.next - 1);
    if (stale) {
        return;
    }
    Index next = reply.conflict_index;
    if (reply.conflict_term != 0) {
        if (const auto last = log_.last_of_term(reply.conflict_term)) {
            next = *last + 1;
        }
    }
    peer.next = std::clamp<Index>(std::min(next, reply.previous_index), peer.match + 1, log_.last_index() + 1);
    peer.state = Peer::State::probe;
    peer.probe_sent = false;
    peer.in_flight.clear();
}

// Commits the newest entry that a majority has on disk, if it is of this term; what precedes it is committed with it
// (paper §5.4.2; counting entries of older terms is the trap of figure 8).
void Node::advance_commit() {
    std::vector<Index> matches;
    for (const auto& [id, member] : configuration().members) {
        if (member.voting || mutated(Mutation::learner_counts)) {
            const auto it = peers_.find(id);
            const auto own = mutated(Mutation::leader_counts_unsynced) ? log_.last_index() : durable_;
            matches.push_back(id == options_.id ? own : it == peers_.end() ? 0 : it->second.match);
        }
    }
    std::sort(matches.begin(), matches.end(), std::greater<>());
    const auto needed =
        mutated(Mutation::minority_commits) ? std::max<std::size_t>(1, matches.size() / 2) : configuration().majority();
    const Index index = matches.at(needed - 1);
    if (index <= commit_ || (log_.term_at(index) != term_ && !mutated(Mutation::commit_old_term_by_count))) {
        return;
    }
    for (const auto& entry : log_.range(commit_ + 1, index)) {
        uncommitted_bytes_ -= std::min(uncommitted_bytes_, entry.data.size());
    }
    commit_ = index;
    after_commit_of_configuration();
}

// Dissertation §6.2: a leader that no longer hears a majority stops being one, so that clients look elsewhere.
void Node::check_quorum() {
    quorum_check_due_ = now_ + options_.election_timeout;
    std::size_t active = configuration().votes(options_.id) ? 1 : 0;
    for (const auto& [id, peer] : peers_) {
        active += configuration().votes(id) && now_ - peer.heard <= options_.election_timeout ? 1 : 0;
    }
    if (active < configuration().majority()) {
        become_follower(term_, 0);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The follower (paper, figure 2, "AppendEntries RPC, receiver implementation")
// ---------------------------------------------------------------------------------------------------------------------

void Node::on(const Message& message, AppendRequest& request) {
    if (message.term < term_ && !mutated(Mutation::stale_append_accepted)) {
        send(message.from,
             AppendReply{false, request.previous_index, 0, 0, 0, 0});  // its term tells the deposed leader
        return;
    }
    require(role_ != Role::leader, "one leader in a term (Election Safety)");
    become_follower(term_, message.from);
    leader_heard_ = now_;
    reset_election_timer();
    send(message.from, accept_append(request));
}

AppendReply Node::accept_append(AppendRequest& request) {
    AppendReply reply{false, request.previous_index, 0, 0, 0, request.round};
    const Index end = request.previous_index + request.entries.size();
    for (std::size_t i = 0; i < request.entries.size(); ++i) {
        if (request.entries[i].index != request.previous_index + 1 + i || request.entries[i].term > term_) {
            return reply;  // no leader of ours sends that
        }
    }
    // Step 2: the log must contain the entry that the leader's follow on. What is compacted away is committed, so it
    // agrees.
    const auto term = log_.term_at(request.previous_index);
    const bool compacted = request.previous_index < log_.base_index();
    if (mutated(Mutation::commit_before_check)) {
        commit_ = std::max(commit_, std::min(request.commit_index, log_.last_index()));
    }
    if (!compacted && term != request.previous_term && !(mutated(Mutation::no_previous_check) && term)) {
        if (term) {
            reply.conflict_term = *term;
            reply.conflict_index = log_.first_of_term(request.previous_index);
        } else {
            reply.conflict_index = log_.last_index() + 1;
        }
        return reply;
    }
    // Steps 3 and 4: cut the log only where an entry conflicts, since a late request must not undo newer ones.
    for (auto& entry : request.entries) {
        if (entry.index <= log_.base_index()) {
            continue;
        }
        if (const auto own = log_.term_at(entry.index)) {
            if (*own == entry.term && !(mutated(Mutation::truncate_without_conflict) && entry.index > commit_)) {
                continue;
            }
            truncate_from(entry.index);
        }
        const Index index = entry.index;
        if (entry.kind == EntryKind::configuration) {
            auto configuration = Configuration::decode(entry.data);
            require(configuration.has_value(), "a leader's configuration can be decoded");
            take_configuration(index, *std::move(configuration));
        }
        log_.append(std::move(entry));
        dirty_from_ = std::min(dirty_from_.value_or(index), index);
    }
    if (mutated(Mutation::truncate_without_conflict) && end < log_.last_index() && end >= commit_ &&
        !request.entries.empty()) {
        truncate_from(end + 1);
    }
    commit_ = std::max(commit_, std::min(request.commit_index, end));  // step 5: only what is known to agree
    reply.success = true;
    reply.match_index = end;
    return reply;
}

void Node::truncate_from(Index index) {
    require(index > commit_, "a committed entry is never removed (State Machine Safety)");
    log_.truncate_from(index);
    while (configurations_.back().index >= index) {
        configurations_.pop_back();  // back to the one before (dissertation §4.1)
        require(!configurations_.empty(), "a configuration is always in force");
    }
    if (dirty_from_) {
        dirty_from_ = std::min(*dirty_from_, index);
    }
    durable_ = std::min(durable_, index - 1);
    for (auto& write : pending_) {
        write.last_index = std::min(write.last_index, index - 1);
    }
}

}  // namespace understudy::raft
