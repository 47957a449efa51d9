// The Raft node's rules one by one. Whole clusters are the simulation's matter.
#include "arbiter/raft/node.hpp"

#include <gtest/gtest.h>

namespace understudy::raft {
namespace {

using std::chrono::milliseconds;

Restored fresh(std::size_t voters, std::vector<Entry> entries = {}, HardState state = {}) {
    Snapshot first;
    for (NodeId id = 1; id <= voters; ++id) {
        first.configuration.members[id] = {"s" + std::to_string(id), true};
    }
    return {state, std::make_shared<const Snapshot>(first), 0, 0, std::move(entries)};
}

Node make(std::size_t voters, std::vector<Entry> entries = {}, HardState state = {}) {
    Options options;
    options.id = 1;
    return {options, fresh(voters, std::move(entries), state), Time{0}};
}

template <typename Body>
std::vector<std::pair<NodeId, Body>> sent(const Effects& effects) {
    std::vector<std::pair<NodeId, Body>> result;
    for (const auto& message : effects.messages) {
        if (const auto* body = std::get_if<Body>(&message.body)) {
            result.emplace_back(message.to, *body);
        }
    }
    return result;
}

// Lets the node's writes become durable until nothing more happens; everything it said on the way.
std::vector<Message> settle(Node& node) {
    std::vector<Message> messages;
    while (true) {
        auto effects = node.take_effects();
        messages.insert(messages.end(), effects.messages.begin(), effects.messages.end());
        if (!effects.write) {
            return messages;
        }
        node.persisted(effects.write->sequence);
    }
}

// A candidate, encouraged by server 2 in a cluster of three.
void stand(Node& node) {
    node.tick(milliseconds(500));
    static_cast<void>(settle(node));
    node.receive({2, 1, node.term(), VoteReply{node.term() + 1, true, true}});
    static_cast<void>(settle(node));
    ASSERT_EQ(node.role(), Role::candidate);
}

// Elected by server 2; its no-op is not yet committed.
void elect(Node& node) {
    stand(node);
    node.receive({2, 1, node.term(), VoteReply{node.term(), false, true}});
    static_cast<void>(settle(node));
    ASSERT_EQ(node.role(), Role::leader);
}

// Elected, and the no-op, which is the log's first entry, is committed.
void establish(Node& node) {
    elect(node);
    node.receive({2, 1, node.term(), AppendReply{true, 0, 1, 0, 0, 0}});
    static_cast<void>(settle(node));
}

// A driver sleeps until then, and nothing may come late because it slept.
TEST(RaftNode, SaysWhenItsTimeHasSomethingToDo) {
    Node node = make(3);
    const Time election = node.next_due();
    EXPECT_GE(election, Options{}.election_timeout);
    EXPECT_LE(election, 2 * Options{}.election_timeout);
    node.tick(election - Time(1));
    EXPECT_EQ(node.role(), Role::follower);
    node.tick(election);
    EXPECT_EQ(node.role(), Role::pre_candidate);
    EXPECT_GT(node.next_due(), election);

    elect(node);
    const Time heartbeat = node.next_due();
    EXPECT_LE(heartbeat, Time(milliseconds(500)) + Options{}.heartbeat_interval);
    static_cast<void>(settle(node));
    node.tick(heartbeat);
    EXPECT_FALSE(sent<AppendRequest>(node.take_effects()).empty());
    EXPECT_GT(node.next_due(), heartbeat);
}

TEST(RaftNode, HandsLeadershipToMembersOnlyAndToItselfWithoutAnyEffect) {
    Node node = make(3);
    elect(node);
    EXPECT_EQ(node.transfer_leadership(7), Refusal::unknown_id);
    EXPECT_EQ(node.transfer_leadership(1), Refusal::none);
    EXPECT_EQ(node.role(), Role::leader);
    EXPECT_EQ(node.propose("goes on").refusal, Refusal::none);
}

// Until its removal is committed it may have the only log that can win; the others' votes decide, not its own.
TEST(RaftNode, AServerThatIsBeingRemovedStandsForElection) {
    for (std::size_t others = 1; others <= 2; ++others) {
        Configuration without;
        for (NodeId id = 2; id <= 1 + others; ++id) {
            without.members[id] = {"s" + std::to_string(id), true};
        }
        Node node = make(1 + others, {{1, 1, EntryKind::configuration, without.encode()}}, {1, 0});
        node.tick(milliseconds(500));
        EXPECT_EQ(node.role(), Role::pre_candidate) << others;
        for (NodeId id = 2; id <= 1 + others; ++id) {
            EXPECT_EQ(node.role(), Role::pre_candidate) << others;
            node.receive({id, 1, 1, VoteReply{2, true, true}});
            static_cast<void>(settle(node));
        }
        EXPECT_EQ(node.role(), Role::candidate) << others;
    }
}

// The other servers' leader is gone: what is due comes forward.
TEST(RaftNode, ALostLeaderBringsTheElectionForward) {
    Node node = make(3);
    node.receive({2, 1, 1, AppendRequest{}});
    static_cast<void>(settle(node));
    const Time before = node.next_due();
    node.peer_lost(2);
    EXPECT_LT(node.next_due(), before);
}

// Both survivors stood at once, and each voted for itself.
TEST(RaftNode, AfterASplitVoteItStandsAgainSoon) {
    Node node = make(3);
    stand(node);
    node.receive({2, 1, node.term(), VoteReply{node.term(), false, false}});
    EXPECT_LE(node.next_due(), Time(milliseconds(500)) + Options{}.election_timeout / 2);
}

// The other survivor asks first, but lacks what this one has: only this one can lead.
TEST(RaftNode, ARequestFromAShorterLogMakesItStandSoon) {
    Node node = make(3, {{1, 1, EntryKind::no_op, {}}}, {1, 0});
    const Time before = node.next_due();
    node.receive({2, 1, 1, VoteRequest{2, 0, 0, true, false}});
    const auto effects = node.take_effects();
    ASSERT_EQ(sent<VoteReply>(effects).size(), 1U);
    EXPECT_FALSE(sent<VoteReply>(effects).front().second.granted);
    EXPECT_LT(node.next_due(), before);
    EXPECT_LE(node.next_due(), Options{}.election_timeout / 2);
}

TEST(RaftNode, AsksBeforeItRaisesItsTerm) {
    auto node = make(3);
    node.tick(milliseconds(500));
    EXPECT_EQ(node.role(), Role::pre_candidate);
    EXPECT_EQ(node.term(), 0U);
    const auto effects = node.take_effects();
    EXPECT_FALSE(effects.write) << "a pre-vote promises nothing";
    const auto requests = sent<VoteRequest>(effects);
    ASSERT_EQ(requests.size(), 2U);
    EXPECT_EQ(requests[0].second, (VoteRequest{1, 0, 0, true, false}));
}

TEST(RaftNode, AVoteLeavesOnlyWhenItIsDurable) {
    auto node = make(3);
    node.receive({2, 1, 1, VoteRequest{1, 0, 0, false, false}});
    auto effects = node.take_effects();
    EXPECT_TRUE(effects.messages.empty());
    ASSERT_TRUE(effects.write);
    EXPECT_EQ(effects.write->hard_state, (HardState{1, 2}));
    node.persisted(effects.write->sequence);
    const auto replies = sent<VoteReply>(node.take_effects());
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_TRUE(replies[0].second.granted);
}

TEST(RaftNode, OneVoteInATermAndOnlyForAnUpToDateLog) {
    auto node = make(3, {{1, 2, EntryKind::command, "x"}}, {2, 0});
    node.receive({2, 1, 3, VoteRequest{3, 5, 1, false, false}});  // longer, but of an older term (§5.4.1)
    node.receive({3, 1, 3, VoteRequest{3, 1, 2, false, false}});
    node.receive({2, 1, 3, VoteRequest{3, 9, 9, false, false}});
    std::vector<bool> granted;
    for (const auto& message : settle(node)) {
        if (const auto* reply = std::get_if<VoteReply>(&message.body)) {
            granted.push_back(reply->granted);
        }
    }
    EXPECT_EQ(granted, (std::vector<bool>{false, true, false}));
}

TEST(RaftNode, AnAppendIsAcknowledgedWhenItIsDurable) {
    auto node = make(3);
    node.receive({2, 1, 1, AppendRequest{0, 0, 0, 1, {{1, 1, EntryKind::command, "x"}}}});
    auto effects = node.take_effects();
    EXPECT_TRUE(effects.messages.empty());
    ASSERT_TRUE(effects.write);
    node.persisted(effects.write->sequence);
    const auto replies = sent<AppendReply>(node.take_effects());
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_TRUE(replies[0].second.success);
    EXPECT_EQ(replies[0].second.match_index, 1U);
}

TEST(RaftNode, RefusalsNameTheConflictingTermAndItsFirstIndex) {
    auto node = make(3,
                     {{1, 1, EntryKind::command, ""},
                      {2, 2, EntryKind::command, ""},
                      {3, 2, EntryKind::command, ""},
                      {4, 2, EntryKind::command, ""}},
                     {2, 0});
    node.receive({2, 1, 5, AppendRequest{4, 4, 0, 1, {}}});
    node.receive({2, 1, 5, AppendRequest{9, 4, 0, 1, {}}});
    std::vector<std::pair<Term, Index>> conflicts;
    for (const auto& message : settle(node)) {
        if (const auto* reply = std::get_if<AppendReply>(&message.body)) {
            EXPECT_FALSE(reply->success);
            conflicts.emplace_back(reply->conflict_term, reply->conflict_index);
        }
    }
    EXPECT_EQ(conflicts, (std::vector<std::pair<Term, Index>>{{2, 2}, {0, 5}}));
}

TEST(RaftNode, ALateAppendDoesNotCutNewerEntries) {
    auto node = make(3);
    const Entry one{1, 1, EntryKind::command, "1"};
    const Entry two{2, 1, EntryKind::command, "2"};
    node.receive({2, 1, 1, AppendRequest{0, 0, 0, 1, {one, two}}});
    node.receive({2, 1, 1, AppendRequest{0, 0, 0, 1, {one}}});
    static_cast<void>(settle(node));
    EXPECT_EQ(node.log().last_index(), 2U);
}

TEST(RaftNode, CommitsByCountingOnlyInItsOwnTerm) {
    auto node = make(3, {{1, 1, EntryKind::command, "old"}}, {1, 0});
    elect(node);
    EXPECT_EQ(node.log().last_index(), 2U) << "a no-op opens the term";
    node.receive({2, 1, node.term(), AppendReply{true, 0, 1, 0, 0, 0}});
    EXPECT_EQ(node.commit_index(), 0U) << "a majority has entry 1, but it is of an older term (§5.4.2)";
    node.receive({2, 1, node.term(), AppendReply{true, 1, 2, 0, 0, 0}});
    EXPECT_EQ(node.commit_index(), 2U);
}

TEST(RaftNode, NoMembershipChangeBeforeAnEntryOfItsTermIsCommitted) {
    auto node = make(3);
    elect(node);
    EXPECT_EQ(node.add_server(4, "s4").refusal, Refusal::not_ready);
    node.receive({2, 1, node.term(), AppendReply{true, 0, 1, 0, 0, 0}});
    EXPECT_EQ(node.add_server(4, "s4").refusal, Refusal::none);
    EXPECT_EQ(node.add_server(5, "s5").refusal, Refusal::busy) << "one at a time";
    EXPECT_FALSE(node.configuration().votes(4)) << "it first catches up";
}

TEST(RaftNode, AReadWaitsForARoundOfHeartbeats) {
    auto node = make(3);
    establish(node);
    ASSERT_EQ(node.read(77), Refusal::none);
    auto effects = node.take_effects();
    EXPECT_TRUE(effects.reads.empty());
    const auto heartbeats = sent<AppendRequest>(effects);
    ASSERT_FALSE(heartbeats.empty());
    const auto round = heartbeats.back().second.round;
    node.receive({3, 1, node.term(), AppendReply{true, 0, 0, 0, 0, round - 1}});
    EXPECT_TRUE(node.take_effects().reads.empty()) << "an answer to an earlier round proves nothing";
    node.receive({3, 1, node.term(), AppendReply{true, 0, 0, 0, 0, round}});
    effects = node.take_effects();
    ASSERT_EQ(effects.reads.size(), 1U);
    EXPECT_EQ(effects.reads[0].context, 77U);
    EXPECT_TRUE(effects.reads[0].confirmed);
}

TEST(RaftNode, ALeaderThatHearsNoMajorityStepsDown) {
    auto node = make(3);
    elect(node);
    static_cast<void>(node.read(5));
    node.tick(milliseconds(1500));
    EXPECT_EQ(node.role(), Role::follower);
    const auto effects = node.take_effects();
    ASSERT_EQ(effects.reads.size(), 1U);
    EXPECT_FALSE(effects.reads[0].confirmed);
}

TEST(RaftNode, AServerAloneDecidesByItselfAndOnlyDurably) {
    auto node = make(1);
    node.tick(milliseconds(500));
    static_cast<void>(settle(node));
    ASSERT_EQ(node.role(), Role::leader);
    ASSERT_EQ(node.propose("x").refusal, Refusal::none);
    auto effects = node.take_effects();
    EXPECT_TRUE(effects.committed.empty());
    node.persisted(effects.write->sequence);
    effects = node.take_effects();
    ASSERT_EQ(effects.committed.size(), 1U);
    EXPECT_EQ(effects.committed[0].data, "x");
}

TEST(RaftNode, TransferTellsTheTargetAndTakesNoProposalsMeanwhile) {
    auto node = make(3);
    establish(node);
    ASSERT_EQ(node.transfer_leadership(2), Refusal::none);
    EXPECT_EQ(sent<TimeoutNow>(node.take_effects()).size(), 1U);
    EXPECT_EQ(node.propose("x").refusal, Refusal::busy);
    for (int i = 0; i < 12; ++i) {  // the target does not take over, but all go on answering
        node.tick(milliseconds(500 + 40 * i));
        for (const auto peer : {NodeId{2}, NodeId{3}}) {
            node.receive({peer, 1, node.term(), AppendReply{true, 1, 1, 0, 0, 0}});
        }
    }
    EXPECT_EQ(node.propose("x").refusal, Refusal::none);
}

}  // namespace
}  // namespace understudy::raft
