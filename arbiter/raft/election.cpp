// Leader election: paper §5.2 and §5.4.1, PreVote from dissertation §9.6.
#include "arbiter/mutation.hpp"
#include "arbiter/raft/node.hpp"

namespace understudy::raft {

void Node::campaign(bool pre_vote, bool transfer) {
    const VoteRequest request{pre_vote ? term_ + 1 : term_, log_.last_index(), log_.last_term(), pre_vote, transfer};
    for (const auto& [id, member] : configuration().members) {
        if (member.voting && id != options_.id) {
            send(id, request);
        }
    }
    if (configuration().majority() == 1 && configuration().votes(options_.id)) {  // alone: its own vote is the majority
        if (pre_vote) {
            become_candidate(false);
        } else {
            become_leader();
        }
    }
}

// Paper §5.4.1: the log whose last entry has the higher term, or the same term and is at least as long.
bool Node::up_to_date(const VoteRequest& request) const {
    return mutated(Mutation::no_up_to_date_check) || request.last_term > log_.last_term() ||
           (request.last_term == log_.last_term() && request.last_index >= log_.last_index());
}

void Node::on(const Message& message, const VoteRequest& request) {
    VoteReply reply{request.for_term, request.pre_vote, false};
    if (request.pre_vote) {
        reply.granted = request.for_term > term_ && up_to_date(request);
    } else if (request.for_term == term_ && role_ == Role::follower) {
        const bool free = voted_for_ == 0 || voted_for_ == message.from || mutated(Mutation::two_votes_in_a_term);
        reply.granted = free && up_to_date(request);
        if (reply.granted) {
            set_hard_state(term_, message.from);
            reset_election_timer();
        }
    }
    if (!reply.granted && role_ != Role::leader && leader_ == 0 && !up_to_date(request)) {
        stand_soon();  // that one cannot lead, this one may
    }
    send(message.from, reply);
}

void Node::on(const Message& message, const VoteReply& reply) {
    const bool mine = reply.pre_vote ? role_ == Role::pre_candidate && reply.for_term == term_ + 1
                                     : role_ == Role::candidate && reply.for_term == term_;
    if (!mine || !configuration().votes(message.from)) {
        return;
    }
    if (!reply.granted) {
        stand_soon();  // the votes are split, or the other's log is longer and it will stand itself
        return;
    }
    votes_.insert(message.from);
    const auto needed = mutated(Mutation::minority_commits) ? configuration().voters() / 2 : configuration().majority();
    std::size_t votes = 0;
    for (const auto id : votes_) {
        votes += configuration().votes(id) ? 1 : 0;
    }
    if (votes >= needed) {
        if (reply.pre_vote) {
            become_candidate(false);
        } else {
            become_leader();
        }
    }
}

}  // namespace understudy::raft
