// Membership changes, one server at a time (dissertation §4.1 and §4.2). A new server joins without a vote and gets one
// as soon as it has caught up.
#include <iterator>
#include <utility>

#include "arbiter/mutation.hpp"
#include "arbiter/raft/node.hpp"

namespace understudy::raft {

// One change at a time, and none before the leader has committed an entry of its own term: without that, two leaders'
// changes that differ by one server each could have disjoint majorities (found after the dissertation, Ongaro,
// raft-dev, 2015-07-10).
Refusal Node::may_change() const {
    if (role_ != Role::leader) {
        return Refusal::not_leader;
    }
    if (!established() && !mutated(Mutation::change_before_own_commit)) {
        return Refusal::not_ready;
    }
    const bool pending = configurations_.back().index > commit_;
    if ((pending && !mutated(Mutation::overlapping_changes)) || transferring()) {
        return Refusal::busy;
    }
    return Refusal::none;
}

Proposal Node::add_server(NodeId id, std::string address) {
    if (const auto refusal = may_change(); refusal != Refusal::none) {
        return {refusal, 0};
    }
    Configuration changed = configuration();
    if (id == 0 || address.size() > kMaxAddress || changed.contains(id) || changed.members.size() >= kMaxMembers) {
        return {Refusal::invalid, 0};
    }
    changed.members[id] = Member{std::move(address), mutated(Mutation::overlapping_changes)};
    return {Refusal::none, change_configuration(std::move(changed))};
}

Proposal Node::remove_server(NodeId id) {
    if (const auto refusal = may_change(); refusal != Refusal::none) {
        return {refusal, 0};
    }
    Configuration changed = configuration();
    if (changed.members.erase(id) == 0) {
        return {Refusal::unknown_id, 0};
    }
    if (changed.voters() == 0) {
        return {Refusal::invalid, 0};
    }
    return {Refusal::none, change_configuration(std::move(changed))};
}

Index Node::change_configuration(Configuration configuration) {
    const Index index = append_own(EntryKind::configuration, configuration.encode());
    take_configuration(index, std::move(configuration));
    sync_peers();
    advance_commit();  // a smaller majority may be there already
    return index;
}

// In force from the moment it is in the log, committed or not (dissertation §4.1).
void Node::take_configuration(Index index, Configuration configuration) {
    require(configurations_.empty() || index > configurations_.back().index, "configurations follow the log's order");
    configurations_.push_back({index, std::move(configuration)});
}

// Also a server that is being removed: until that is committed it may be the only one left whose log is long enough to
// win, with the votes of the others (dissertation §4.2.2).
bool Node::may_lead() const {
    const auto& newest = configurations_.back();
    const bool pending = newest.index > commit_ && configurations_.size() > 1;
    return newest.configuration.votes(options_.id) ||
           (pending && std::prev(configurations_.end(), 2)->configuration.votes(options_.id));
}

// The leader's peers are the other members of the newest configuration.
void Node::sync_peers() {
    std::erase_if(peers_, [&](const auto& peer) { return !configuration().contains(peer.first); });
    for (const auto& [id, member] : configuration().members) {
        if (id != options_.id && !peers_.contains(id)) {
            Peer peer;
            peer.next = log_.last_index();  // most likely it lacks only the newest entry
            peer.heard = now_;
            peers_.emplace(id, std::move(peer));
        }
    }
    if (transfer_target_ != 0 && !configuration().votes(transfer_target_)) {
        transfer_target_ = 0;
    }
}

void Node::promote_if_caught_up(NodeId id) {
    const auto member = configuration().members.find(id);
    if (member == configuration().members.end() || member->second.voting || may_change() != Refusal::none ||
        peers_.at(id).match < commit_) {
        return;
    }
    Configuration changed = configuration();
    changed.members[id].voting = true;
    if (const auto met = met_.find(id); met != met_.end()) {
        changed.members[id].incarnation = met->second;
    }
    change_configuration(std::move(changed));
}

// A leader that is no longer a member hands over when that is committed (dissertation §4.2.2).
void Node::after_commit_of_configuration() {
    if (configurations_.back().index <= commit_ && !configuration().contains(options_.id)) {
        broadcast_heartbeat();  // so that the others learn of the commitment from it
        become_follower(term_, 0);
    }
}

}  // namespace understudy::raft
