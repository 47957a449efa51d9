// What must hold after every step of a server: the paper's figure 3.
#include <algorithm>
#include <array>
#include <utility>

#include "common/bytes.hpp"
#include "common/digest.hpp"
#include "tests/simulation/arbiter/cluster.hpp"

namespace understudy::arbiter::simulation {
namespace {

using std::chrono::milliseconds;

}  // namespace

void Cluster::note_vote(const raft::Message& message) {
    const auto* reply = std::get_if<raft::VoteReply>(&message.body);
    if (reply == nullptr || !reply->granted || reply->pre_vote) {
        return;
    }
    const auto [it, first] = votes_.emplace(std::pair(reply->for_term, message.from), message.to);
    check(it->second == message.to, fmt::format("server {} voted for {} and for {} in term {}", message.from,
                                                it->second, message.to, reply->for_term));
    if (first && kills_voters_ && !healed_ && chance(0.4)) {
        crash_soon(servers_[message.from], milliseconds(5));
    }
}

void Cluster::note_applied(Index index, const Command& command, const Applied& applied) {
    const auto seen = digest(as_bytes(command.encode()));
    const auto [it, first] = applied_.emplace(index, seen);
    check(it->second == seen, fmt::format("State Machine Safety: two commands were applied at index {}", index));
    if (applied.repeated) {
        return;
    }
    const std::pair key(command.client.low, command.sequence);
    const auto [execution, only] = executed_.emplace(key, index);
    check(execution->second == index, fmt::format("command {} of client {} was executed at index {} and at {}",
                                                  key.second, key.first, execution->second, index));
    if (const auto* test = std::get_if<TestAndSetRequest>(&command.operation); test && applied.answer.granted) {
        const auto [winner, alone] = winners_.emplace(std::pair(test->vm, test->generation), test->candidate);
        check(winner->second == test->candidate,
              fmt::format("generation {} of {} has two winners, {} and {}", test->generation.value, test->vm,
                          winner->second, test->candidate));
    }
}

void Cluster::check_invariants(Server& server) {
    const auto& node = server.core->node();
    const auto& log = node.log();
    const bool leads = node.role() == raft::Role::leader;
    if (leads) {
        const auto [it, first] = leaders_.emplace(node.term(), server.id);
        check(it->second == server.id,
              fmt::format("Election Safety: {} and {} lead term {}", it->second, server.id, node.term()));
        if (first) {
            ++verdict_.elections;
            say("server {} leads term {}", server.id, node.term());
            check_completeness(server);
            if (kills_leaders_ && !healed_ && chance(0.7)) {
                crash_soon(server, std::array<Time, 3>{milliseconds(2), milliseconds(20), milliseconds(100)}[below(3)]);
            }
        }
        if (server.led_term == node.term()) {
            check(log.last_index() >= server.led_last, "Leader Append-Only: a leader's log became shorter");
        }
        server.led_last = log.last_index();
    }
    server.led_term = leads ? node.term() : 0;
    check_log(server);
    check(node.commit_index() >= server.commit, "a commit index went back");
    for (Index i = std::max(server.commit, log.base_index()) + 1; i <= node.commit_index(); ++i) {
        const auto term = log.term_at(i);
        check(term.has_value(), "what is committed is in the log");
        const auto [it, first] = committed_.emplace(i, Committed{*term, node.term()});
        check(it->second.term == *term, fmt::format("State Machine Safety: entries {} of terms {} and {} are committed",
                                                    i, it->second.term, *term));
    }
    server.commit = node.commit_index();
}

// Log Matching, by induction: wherever an entry of this index and term stands, it is the same and follows on an
// entry of the same term.
void Cluster::check_log(Server& server) {
    const auto& log = server.core->node().log();
    if (server.verified > log.last_index() || log.term_at(server.verified) != server.verified_term) {
        server.verified = log.base_index();
    }
    for (const auto& entry : log.range(server.verified + 1, log.last_index())) {
        const auto previous = log.term_at(entry.index - 1).value_or(0);
        const std::pair content(digest(as_bytes(entry.data)), previous);
        const auto [it, first] = entries_.emplace(std::pair(entry.index, entry.term), content);
        check(it->second == content, fmt::format("Log Matching: two entries {} of term {}", entry.index, entry.term));
    }
    server.verified = log.last_index();
    server.verified_term = log.last_term();
}

void Cluster::check_completeness(const Server& server) const {
    const auto& log = server.core->node().log();
    const auto term = server.core->node().term();
    for (const auto& [index, entry] : committed_) {
        // A leader of an older term that learns late of its election need not have it.
        if (index > log.base_index() && term > entry.seen_in) {
            check(log.term_at(index) == entry.term,
                  fmt::format("Leader Completeness: leader {} of term {} lacks the committed entry {} of term {}",
                              server.id, term, index, entry.term));
        }
    }
}

}  // namespace understudy::arbiter::simulation
