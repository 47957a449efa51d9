#include "arbiter/server/server_core.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "arbiter/mutation.hpp"
#include "common/codec.hpp"
#include "common/digest.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {
namespace {

constexpr std::size_t kListBytes = kMaxMessageBytes / 2;

// By their numbers: each may know the others by other addresses.
std::uint64_t digest_of(const std::map<raft::NodeId, raft::Member>& servers) {
    if (servers.empty()) {
        return 0;
    }
    std::string numbers;
    Encoder encoder(numbers);
    for (const auto& [id, member] : servers) {
        encoder.u64(id);
    }
    return digest(as_bytes(numbers));
}

// Of a server that has no identity yet: this is its first start, or the second where it died within the first. In a
// term it has taken part already, as servers did that had none.
Identity::Fresh fresh_identity(const raft::Node& node, std::uint64_t incarnation) {
    const auto& members = node.configuration().members;
    const bool took_part = node.term() > 0;
    return {incarnation, took_part || members.size() <= 1, took_part ? 0 : digest_of(members)};
}

}  // namespace

ServerCore::ServerCore(const ServerCoreOptions& options, Directory& directory, raft::Time now)
    : options_(options),
      storage_(directory, options.bootstrap, options.segment_bytes),
      node_(options.raft, storage_.take_restored(), now),
      identity_(directory, options.raft.id, options.cluster, fresh_identity(node_, options.incarnation)),
      now_(now) {
    restore(*node_.snapshot());
}

bool ServerCore::admits(raft::NodeId peer, std::uint64_t incarnation) {
    const auto& members = node_.configuration().members;
    const auto member = members.find(peer);
    if (member == members.end()) {
        return true;
    }
    const auto voted_in = member->second.incarnation;
    const bool as_voted_in = voted_in == incarnation || mutated(Mutation::lost_disk_believed);
    if (voted_in != 0 ? !as_voted_in : !identity_.knows(peer, incarnation)) {
        return false;
    }
    node_.met(peer, incarnation);
    return true;
}

void ServerCore::admitted_by(raft::NodeId peer) {
    if (takes_part()) {
        return;
    }
    admitted_by_.insert(peer);
    const auto knows_this = [this](const auto& member) {
        return member.first == node_.id() || admitted_by_.contains(member.first);
    };
    if (std::ranges::all_of(node_.configuration().members, knows_this)) {
        identity_.set_introduced();
    }
}

// What it is asked before, it does not hear: it neither votes nor has an answer to its own questions.
void ServerCore::receive(raft::Message message) {
    if (takes_part() || mutated(Mutation::voted_before_met)) {
        node_.receive(std::move(message));
    }
}

void ServerCore::tick(raft::Time now) {
    now_ = now;
    node_.tick(now);
}

// ---------------------------------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------------------------------

void ServerCore::request(std::uint64_t connection, Request request) {
    const Caller caller{connection, request.id};
    if (waiting_.size() + reads_.size() >= options_.max_waiting) {
        refuse(caller, raft::Refusal::busy);
        return;
    }
    std::visit([&](auto& body) { handle(caller, body); }, request.body);
}

void ServerCore::handle(const Caller& caller, Submit& submit) {
    if (!within_bounds(submit.operation)) {  // every server has to be able to decode what is in the log
        reply(caller, Answer{false, Reason::invalid, std::nullopt});
        return;
    }
    after_role_change();
    Command command{LogClock{0}, submit.client, submit.sequence, submit.answered_below, std::move(submit.operation)};
    command.clock = clock_base_ + (now_ - clock_since_);
    const auto proposal = node_.propose(command.encode());
    await(caller, proposal);
}

void ServerCore::handle(const Caller& caller, ReadRequest& read) {
    queue_read(caller, read);
}
void ServerCore::handle(const Caller& caller, ListRequest& list) {
    queue_read(caller, list);
}

template <typename Query>
void ServerCore::queue_read(const Caller& caller, Query& query) {
    if (const auto refusal = node_.read(next_read_); refusal != raft::Refusal::none) {
        refuse(caller, refusal);
        return;
    }
    reads_.emplace(next_read_++, WaitingRead{caller, std::move(query)});
}

void ServerCore::handle(const Caller& caller, StatusRequest& /*status*/) {
    reply(caller, status());
}

void ServerCore::handle(const Caller& caller, AddServerRequest& add) {
    const auto member = node_.configuration().members.find(add.id);
    if (member != node_.configuration().members.end() && member->second.address == add.address &&
        node_.role() == raft::Role::leader) {
        reply(caller, DoneReply{true, "already a member"});  // asked again after an answer was lost
        return;
    }
    await(caller, node_.add_server(add.id, std::move(add.address)));
}

void ServerCore::handle(const Caller& caller, RemoveServerRequest& remove) {
    if (node_.role() == raft::Role::leader && !node_.configuration().contains(remove.id)) {
        reply(caller, DoneReply{true, "not a member"});
        return;
    }
    await(caller, node_.remove_server(remove.id));
}

void ServerCore::handle(const Caller& caller, TransferRequest& transfer) {
    const auto refusal = node_.transfer_leadership(transfer.target);
    if (refusal == raft::Refusal::none) {
        reply(caller, DoneReply{true, "leadership is being handed over"});
    } else {
        refuse(caller, refusal);
    }
}

void ServerCore::handle(const Caller& caller, SnapshotNowRequest& /*snapshot*/) {
    snapshot_requested_ = true;
    reply(caller, DoneReply{true, "a snapshot is being written"});
}

void ServerCore::await(const Caller& caller, const raft::Proposal& proposal) {
    if (proposal.refusal == raft::Refusal::none) {
        waiting_.insert_or_assign(proposal.index, Waiting{caller, node_.term()});
    } else {
        refuse(caller, proposal.refusal);
    }
}

// What another server, or this one a little later, may do is redirected; the rest is an answer.
void ServerCore::refuse(const Caller& caller, raft::Refusal refusal) {
    if (refusal == raft::Refusal::unknown_id || refusal == raft::Refusal::invalid) {
        reply(caller, DoneReply{false, std::string(name(refusal))});
    } else {
        ++counters_.redirects;
        reply(caller, redirect());
    }
}

Redirect ServerCore::redirect() const {
    const auto leader = node_.leader();
    const auto& members = node_.configuration().members;
    const auto it = members.find(leader);
    return it == members.end() ? Redirect{} : Redirect{leader, it->second.address};
}

template <typename Body>
void ServerCore::reply(const Caller& caller, Body body) {
    outgoing_.replies.emplace_back(caller.connection, Reply{caller.request, std::move(body)});
}

// ---------------------------------------------------------------------------------------------------------------------
// Effects
// ---------------------------------------------------------------------------------------------------------------------

Outgoing ServerCore::begin() {
    if (!write_) {
        auto effects = node_.take_effects();
        std::move(effects.messages.begin(), effects.messages.end(), std::back_inserter(outgoing_.messages));
        write_ = std::move(effects.write);
        written_ = false;
        if (effects.restore) {
            restore(*effects.restore);
            ++counters_.snapshots_installed;
        }
        for (const auto& entry : effects.committed) {
            apply(entry);
        }
        for (const auto& read : effects.reads) {
            answer_read(read);
        }
        after_role_change();
        consider_snapshot();
    }
    return std::exchange(outgoing_, {});
}

void ServerCore::write() {
    require(write_.has_value() && !written_, "write() follows on a begin() that found something to write");
    ++counters_.writes;
    counters_.entries_written += write_->entries.size();
    storage_.append(*write_);
    write_->entries = {};
    written_ = true;
}

Outgoing ServerCore::complete() {
    require(write_.has_value() && written_, "complete() follows on write()");
    storage_.sync();
    const auto sequence = write_->sequence;
    write_.reset();
    node_.persisted(sequence);
    return begin();
}

void ServerCore::apply(const raft::Entry& entry) {
    std::optional<Answer> answer;
    if (entry.kind == raft::EntryKind::command) {
        const auto command = Command::decode(entry.data);
        require(command.has_value(), "every server can decode what a leader proposed");
        auto applied = machine_.apply(*command);
        ++counters_.commands;
        counters_.repeated += applied.repeated ? 1 : 0;
        if (on_applied) {
            on_applied(entry.index, *command, applied);
        }
        answer = std::move(applied.answer);
    }
    const auto it = waiting_.find(entry.index);
    if (it == waiting_.end()) {
        return;
    }
    const Waiting waiting = it->second;
    waiting_.erase(it);
    if (waiting.term != entry.term) {
        reply(waiting.caller, redirect());  // another leader's entry took its place
    } else if (answer) {
        reply(waiting.caller, std::move(*answer));
    } else {
        reply(waiting.caller, DoneReply{true, "done"});
    }
}

void ServerCore::restore(const raft::Snapshot& snapshot) {
    if (!machine_.restore(snapshot.data)) {
        throw Error::format("the snapshot at index {} was written by another version of this program",
                            snapshot.last_index);
    }
}

void ServerCore::answer_read(const raft::ReadResult& result) {
    const auto it = reads_.find(result.context);
    if (it == reads_.end()) {
        return;
    }
    const auto waiting = std::move(it->second);
    reads_.erase(it);
    if (!result.confirmed) {
        reply(waiting.caller, redirect());
        return;
    }
    ++counters_.reads;
    if (const auto* read = std::get_if<ReadRequest>(&waiting.request)) {
        reply(waiting.caller, ReadReply{machine_.read(read->vm)});
    } else {
        reply(waiting.caller, list_page(std::get<ListRequest>(waiting.request).after));
    }
}

ListReply ServerCore::list_page(const VmId& after) const {
    ListReply page;
    page.vms = machine_.list(after, kListPage);
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < page.vms.size(); ++i) {
        bytes += page.vms[i].first.size() + 64;
        for (const auto& member : page.vms[i].second.members) {
            bytes += 2 * member.size();  // as much again for a winner
        }
        if (bytes > kListBytes) {
            page.vms.resize(i);
            page.more = true;
            return page;
        }
    }
    page.more = page.vms.size() == kListPage;
    return page;
}

// Requests that waited for this server as leader of another term are sent away; the log's clock goes on from where this
// server finds it.
void ServerCore::after_role_change() {
    const bool leads = node_.role() == raft::Role::leader;
    if (!waiting_.empty() && (!leads || led_term_ != node_.term())) {
        for (const auto& [index, waiting] : waiting_) {
            reply(waiting.caller, redirect());
        }
        waiting_.clear();
    }
    const bool new_term = leads && led_term_ != node_.term();
    const bool newly_established = leads && !established_ && node_.established();
    if (new_term) {
        led_term_ = node_.term();
        established_ = false;
        ++counters_.elections_won;
    }
    if (new_term || newly_established) {
        clock_base_ = machine_.clock();
        clock_since_ = now_;
        established_ = node_.established();
    }
}

bool ServerCore::resign() {
    return node_.transfer_leadership(0) == raft::Refusal::none;
}

StatusReply ServerCore::status() const {
    return {node_.status(), machine_.vms(), machine_.sessions(), storage_.wal_bytes(), storage_.snapshot_bytes()};
}

// ---------------------------------------------------------------------------------------------------------------------
// Snapshots
// ---------------------------------------------------------------------------------------------------------------------

void ServerCore::consider_snapshot() {
    const auto behind = node_.applied_index() - std::min(node_.applied_index(), node_.snapshot()->last_index);
    const bool due = behind >= options_.snapshot_after || (snapshot_requested_ && behind > 0);
    // A server that joins learns its cluster's configuration only on the way.
    if (snapshot_under_way_ || !due || node_.snapshot_point().configuration.voters() == 0) {
        return;
    }
    auto snapshot = node_.snapshot_point();
    snapshot.data = machine_.snapshot();
    snapshot_to_write_ = std::make_shared<const raft::Snapshot>(std::move(snapshot));
    snapshot_under_way_ = true;
    snapshot_requested_ = false;
}

raft::SnapshotPointer ServerCore::take_snapshot_to_write() {
    return std::exchange(snapshot_to_write_, nullptr);
}

void ServerCore::snapshot_written(const raft::SnapshotPointer& snapshot) {
    snapshot_under_way_ = false;
    ++counters_.snapshots_taken;
    storage_.snapshot_written(*snapshot);
    node_.compact(snapshot, options_.trailing);
}

}  // namespace understudy::arbiter
