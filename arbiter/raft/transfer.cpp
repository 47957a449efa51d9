// Leadership transfer (dissertation §3.10): take no more proposals, bring the target up to date, tell it to stand for
// election at once. If it does not take over within an election timeout, lead on.
#include "arbiter/raft/node.hpp"

namespace understudy::raft {

Refusal Node::transfer_leadership(NodeId target) {
    if (role_ != Role::leader) {
        return Refusal::not_leader;
    }
    if (transferring()) {
        return Refusal::busy;
    }
    if (target == 0) {
        for (const auto& [id, peer] : peers_) {
            const bool active = now_ - peer.heard < options_.election_timeout;
            if (configuration().votes(id) && active && (target == 0 || peer.match > peers_.at(target).match)) {
                target = id;
            }
        }
    }
    if (target == options_.id) {
        return Refusal::none;  // it leads already
    }
    if (!configuration().votes(target)) {
        return target == 0 ? Refusal::not_ready : Refusal::unknown_id;
    }
    transfer_target_ = target;
    transfer_sent_ = false;
    transfer_deadline_ = now_ + 2 * options_.election_timeout;
    continue_transfer();
    return Refusal::none;
}

void Node::continue_transfer() {
    if (!transferring() || transfer_sent_ || peers_.at(transfer_target_).match < log_.last_index()) {
        return;
    }
    transfer_sent_ = true;
    send(transfer_target_, TimeoutNow{});
}

void Node::on(const Message& message, const TimeoutNow& /*request*/) {
    if (message.term == term_ && role_ == Role::follower && configuration().votes(options_.id)) {
        become_candidate(true);
    }
}

}  // namespace understudy::raft
