#include "arbiter/raft/node.hpp"

#include <algorithm>
#include <utility>

#include "arbiter/mutation.hpp"

namespace understudy::raft {

std::string_view name(Refusal refusal) {
    switch (refusal) {
        case Refusal::none:
            return "accepted";
        case Refusal::not_leader:
            return "not the leader";
        case Refusal::busy:
            return "busy: too much is under way, try again";
        case Refusal::not_ready:
            return "the leader is not yet established, try again";
        case Refusal::unknown_id:
            return "no such member";
        case Refusal::invalid:
            return "the change makes no sense for this cluster";
    }
    return "?";
}

Node::Node(const Options& options, Restored restored, Time now)
    : options_(options),
      random_state_(options.seed * 0x9E3779B97F4A7C15ULL + options.id),
      now_(now),
      term_(restored.hard_state.term),
      voted_for_(restored.hard_state.voted_for),
      log_(restored.base_index, restored.base_term, std::move(restored.entries)),
      snapshot_(std::move(restored.snapshot)) {
    require(options_.id != 0, "a server has an id");
    require(snapshot_ != nullptr, "a server starts from a snapshot, if an empty one");
    require(log_.base_index() <= snapshot_->last_index && log_.last_index() >= snapshot_->last_index,
            "the log on disk reaches back to the snapshot");
    if (mutated(Mutation::term_not_persisted)) {
        term_ = std::max(term_, log_.last_term());
    }
    require(log_.last_term() <= term_, "the term on disk is at least that of the log");
    configurations_.push_back({snapshot_->last_index, snapshot_->configuration});
    for (const auto& entry : log_.range(snapshot_->last_index + 1, log_.last_index())) {
        if (entry.kind == EntryKind::configuration) {
            auto configuration = Configuration::decode(entry.data);
            require(configuration.has_value(), "a configuration in the log can be decoded");
            configurations_.push_back({entry.index, std::move(*configuration)});
        }
    }
    commit_ = applied_ = snapshot_->last_index;
    durable_ = log_.last_index();
    reset_election_timer();
}

// ---------------------------------------------------------------------------------------------------------------------
// Roles (paper §5.1, figure 4). Nothing else assigns role_.
//
//   from           to             when
//   follower       pre-candidate  the election timeout passed (paper §5.2, dissertation §9.6)
//   pre-candidate  candidate      a majority would vote for it
//   follower       candidate      the leader said TimeoutNow (dissertation §3.10)
//   candidate      leader         a majority voted for it in its term (paper §5.2)
//   any            follower       a higher term was seen (paper §5.1); a leader of this term was heard (paper §5.2);
//                                 as leader: no majority heard for an election timeout (dissertation §6.2), or the
//                                 configuration without it is committed (dissertation §4.2.2)
// ---------------------------------------------------------------------------------------------------------------------

void Node::become_follower(Term term, NodeId leader) {
    require(term >= term_, "the term never decreases");
    if (role_ == Role::leader) {
        abandon_leadership();
    }
    if (term > term_) {
        set_hard_state(term, 0);
    }
    role_ = Role::follower;
    leader_ = leader;
    votes_.clear();
}

void Node::become_pre_candidate() {
    require(role_ != Role::leader, "a leader does not stand for election");
    role_ = Role::pre_candidate;
    leader_ = 0;
    votes_ = {options_.id};
    reset_election_timer();
    campaign(true, false);
}

void Node::become_candidate(bool transfer) {
    require(role_ != Role::leader, "a leader does not stand for election");
    set_hard_state(term_ + 1, options_.id);
    role_ = Role::candidate;
    leader_ = 0;
    votes_ = {options_.id};
    reset_election_timer();
    campaign(false, transfer);
}

void Node::become_leader() {
    require(role_ == Role::candidate, "only a candidate becomes leader");
    role_ = Role::leader;
    leader_ = options_.id;
    votes_.clear();
    peers_.clear();
    uncommitted_bytes_ = 0;
    transfer_target_ = 0;
    quorum_check_due_ = now_ + options_.election_timeout;
    // An entry of the term that can be committed at once, and with it all before it (paper §5.4.2, §8).
    term_start_ = append_own(EntryKind::no_op, {});
    sync_peers();
    broadcast_heartbeat();
}

void Node::abandon_leadership() {
    for (const auto& read : reads_) {
        finished_reads_.push_back({read.context, false});
    }
    reads_.clear();
    peers_.clear();
    transfer_target_ = 0;
    term_start_ = 0;
    reset_election_timer();
}

bool Node::established() const {
    return role_ == Role::leader && commit_ >= term_start_;
}

// ---------------------------------------------------------------------------------------------------------------------
// Events
// ---------------------------------------------------------------------------------------------------------------------

void Node::tick(Time now) {
    now_ = std::max(now_, now);
    if (role_ == Role::leader) {
        if (now_ >= quorum_check_due_) {
            check_quorum();
        }
        if (role_ == Role::leader && transferring() && now_ >= transfer_deadline_) {
            transfer_target_ = 0;  // it did not take over in time: lead on (dissertation §3.10)
        }
        if (role_ == Role::leader && now_ >= heartbeat_due_) {
            broadcast_heartbeat();
        }
    } else if (now_ >= election_deadline_) {
        if (may_lead()) {
            become_pre_candidate();
        } else {
            reset_election_timer();
        }
    }
}

Time Node::next_due() const {
    if (role_ != Role::leader) {
        return election_deadline_;
    }
    const Time due = std::min(heartbeat_due_, quorum_check_due_);
    return transferring() ? std::min(due, transfer_deadline_) : due;
}

void Node::receive(Message message) {
    if (message.to != options_.id || message.from == 0 || message.from == options_.id) {
        return;  // misdirected: the sender's view of who is where is wrong
    }
    const auto* vote = std::get_if<VoteRequest>(&message.body);
    if (vote != nullptr && !vote->transfer && heard_leader_recently()) {
        return;  // disruptive servers, and a leader that is only slow (dissertation §4.2.3, §9.6)
    }
    // A higher term: this server's is over (paper §5.1). The question of a pre-candidate changes nothing.
    if (message.term > term_ && !(vote != nullptr && vote->pre_vote)) {
        const bool from_leader = std::holds_alternative<AppendRequest>(message.body) ||
                                 std::holds_alternative<SnapshotRequest>(message.body);
        become_follower(message.term, from_leader ? message.from : 0);
    }
    if (role_ == Role::leader && message.term == term_) {
        if (const auto it = peers_.find(message.from); it != peers_.end()) {
            it->second.heard = now_;
        }
    }
    std::visit([&](auto& body) { on(message, body); }, message.body);
}

void Node::peer_lost(NodeId peer) {
    if (role_ == Role::follower && leader_ == peer) {
        leader_ = 0;
        stand_soon();
    }
}

// There is no leader, and the others answer: nothing is won by the silence of an election timeout. Late enough that
// all have noticed, spread so that seldom two ask at once.
void Node::stand_soon() {
    const auto quarter = static_cast<std::uint64_t>(options_.election_timeout.count()) / 4;
    const auto soon = now_ + Time(static_cast<Time::rep>(quarter / 5 + random(quarter)));
    election_deadline_ = std::min(election_deadline_, soon);
}

Proposal Node::propose(std::string data) {
    if (role_ != Role::leader) {
        return {Refusal::not_leader, 0};
    }
    if (transferring() || uncommitted_bytes_ + data.size() > options_.max_uncommitted) {
        return {Refusal::busy, 0};
    }
    uncommitted_bytes_ += data.size();
    return {Refusal::none, append_own(EntryKind::command, std::move(data))};
}

// ---------------------------------------------------------------------------------------------------------------------
// Durability: what is to be written, and which messages wait for it
// ---------------------------------------------------------------------------------------------------------------------

void Node::set_hard_state(Term term, NodeId voted_for) {
    require(term > term_ || (term == term_ &&
                             (voted_for_ == 0 || voted_for_ == voted_for || mutated(Mutation::two_votes_in_a_term))),
            "a server votes once in a term");
    term_ = term;
    voted_for_ = voted_for;
    hard_state_dirty_ = true;
}

bool Node::dirty() const {
    return hard_state_dirty_ || dirty_from_.has_value() || snapshot_dirty_ != nullptr;
}

std::uint64_t Node::hard_state_dependency() const {
    return hard_state_dirty_ ? next_sequence_ : hard_state_sequence_;
}

std::uint64_t Node::write_dependency() const {
    if (dirty()) {
        return next_sequence_;
    }
    return pending_.empty() ? 0 : pending_.back().sequence;
}

void Node::send(NodeId to, Body body) {
    // A leader's messages say only that it leads the term, for which its vote in that term must be durable; its entries
    // need not be (dissertation §10.2.1). Everything else may tell of anything that was written so far.
    const bool leaders = std::holds_alternative<AppendRequest>(body) || std::holds_alternative<SnapshotRequest>(body) ||
                         std::holds_alternative<TimeoutNow>(body);
    const auto sequence = leaders ? hard_state_dependency() : write_dependency();
    send_when(sequence, Message{options_.id, to, term_, std::move(body)});
}

void Node::send_when(std::uint64_t sequence, Message message) {
    if (sequence <= persisted_sequence_ || mutated(Mutation::answer_before_fsync)) {
        messages_.push_back(std::move(message));
    } else {
        held_.push_back({sequence, std::move(message)});
    }
}

void Node::persisted(std::uint64_t sequence) {
    require(sequence > persisted_sequence_ && sequence < next_sequence_, "writes become durable in order");
    persisted_sequence_ = sequence;
    while (!pending_.empty() && pending_.front().sequence <= sequence) {
        durable_ = std::max(durable_, pending_.front().last_index);
        pending_.pop_front();
    }
    std::deque<HeldMessage> still_held;
    for (auto& held : held_) {
        if (held.sequence <= sequence) {
            messages_.push_back(std::move(held.message));
        } else {
            still_held.push_back(std::move(held));
        }
    }
    held_ = std::move(still_held);
    if (role_ == Role::leader) {
        advance_commit();
    }
}

Effects Node::take_effects() {
    if (role_ == Role::leader) {
        start_reads();
        for (auto& [id, peer] : peers_) {
            replicate(id, peer);
        }
    }
    Effects effects;
    if (dirty()) {
        Write write;
        write.sequence = next_sequence_++;
        if (hard_state_dirty_) {
            if (!mutated(Mutation::term_not_persisted)) {
                write.hard_state = HardState{term_, mutated(Mutation::vote_not_persisted) ? 0 : voted_for_};
            }
            hard_state_sequence_ = write.sequence;
        }
        write.snapshot = std::exchange(snapshot_dirty_, nullptr);
        if (dirty_from_) {
            write.entries = log_.range(*dirty_from_, log_.last_index());
        }
        pending_.push_back({write.sequence, log_.last_index()});
        hard_state_dirty_ = false;
        dirty_from_.reset();
        effects.write = std::move(write);
    }
    if (restore_ && durable_ >= restore_->last_index) {
        applied_ = restore_->last_index;
        effects.restore = std::exchange(restore_, nullptr);
    }
    // Applied state never runs ahead of this server's own disk.
    const Index ready = std::min(commit_, durable_);
    if (!restore_ && ready > applied_) {
        effects.committed = log_.range(applied_ + 1, ready);
        require(effects.committed.size() == ready - applied_, "entries are applied one after the other");
        applied_ = ready;
    }
    finish_reads();
    effects.reads = std::exchange(finished_reads_, {});
    effects.messages = std::exchange(messages_, {});
    return effects;
}

// ---------------------------------------------------------------------------------------------------------------------

bool Node::heard_leader_recently() const {
    return role_ == Role::leader || (leader_ != 0 && now_ - leader_heard_ < options_.election_timeout);
}

void Node::reset_election_timer() {
    const auto timeout = static_cast<std::uint64_t>(options_.election_timeout.count());
    election_deadline_ = now_ + Time(static_cast<Time::rep>(timeout + random(timeout)));
}

std::uint64_t Node::random(std::uint64_t bound) {  // splitmix64 (Steele, Lea, Flood, 2014)
    random_state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t z = random_state_;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
    return (z ^ (z >> 31U)) % std::max<std::uint64_t>(bound, 1);
}

Snapshot Node::snapshot_point() const {
    const auto term = log_.term_at(applied_);
    require(term.has_value(), "the applied entry's term is known");
    const auto it = std::find_if(configurations_.rbegin(), configurations_.rend(),
                                 [&](const ConfigurationAt& at) { return at.index <= applied_; });
    require(it != configurations_.rend(), "a configuration is in force at every index");
    return {applied_, *term, it->configuration, {}};
}

Status Node::status() const {
    Status status{options_.id, role_, term_, leader_, commit_, applied_, log_.last_index(), snapshot_->last_index, {}};
    for (const auto& [id, member] : configuration().members) {
        MemberStatus one{id, member, 0, false};
        if (id == options_.id) {
            one.match_index = durable_;
            one.active = true;
        } else if (const auto it = peers_.find(id); it != peers_.end()) {
            one.match_index = it->second.match;
            one.active = now_ - it->second.heard < options_.election_timeout;
        }
        status.members.push_back(std::move(one));
    }
    return status;
}

}  // namespace understudy::raft
