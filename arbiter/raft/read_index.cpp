// Linearizable reads without a log entry (ReadIndex, dissertation §6.4): note the commit index, make sure by a round of
// heartbeats that no newer leader existed at that time, wait until it is applied, answer.
#include <algorithm>

#include "arbiter/mutation.hpp"
#include "arbiter/raft/node.hpp"

namespace understudy::raft {

Refusal Node::read(std::uint64_t context) {
    if (role_ != Role::leader) {
        return Refusal::not_leader;
    }
    if (reads_.size() >= options_.max_reads) {
        return Refusal::busy;
    }
    reads_.push_back({context, 0, 0});
    return Refusal::none;
}

// One round of heartbeats for all reads that came since the last one. Step 1: the commit index is only known to be the
// cluster's once an entry of the own term is committed.
void Node::start_reads() {
    if (reads_.empty() || reads_.back().round != 0 || (!established() && !mutated(Mutation::read_before_own_commit))) {
        return;
    }
    broadcast_heartbeat();
    for (auto it = reads_.rbegin(); it != reads_.rend() && it->round == 0; ++it) {
        it->round = round_;
        it->index = commit_;
    }
}

void Node::finish_reads() {
    if (reads_.empty() || role_ != Role::leader) {
        return;
    }
    // The newest round that a majority has answered.
    std::vector<std::uint64_t> rounds;
    for (const auto& [id, member] : configuration().members) {
        if (member.voting) {
            const auto it = peers_.find(id);
            rounds.push_back(id == options_.id ? round_ : it == peers_.end() ? 0 : it->second.round);
        }
    }
    std::sort(rounds.begin(), rounds.end(), std::greater<>());
    const auto confirmed = mutated(Mutation::read_without_quorum) ? round_ : rounds.at(rounds.size() / 2);
    while (!reads_.empty() && reads_.front().round != 0 && reads_.front().round <= confirmed &&
           reads_.front().index <= applied_) {
        finished_reads_.push_back({reads_.front().context, true});
        reads_.pop_front();
    }
}

}  // namespace understudy::raft
