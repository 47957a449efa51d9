// The deliberate bugs of the arbiter (common/mutation.hpp). docs/arbiter.md has the table of how many seeds each
// survived.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "common/mutation.hpp"

namespace understudy {

enum class Mutation : std::uint8_t {
    none,
    vote_not_persisted,         // a restarted server forgets whom it voted for
    term_not_persisted,         // ... and the term it has seen
    answer_before_fsync,        // replies leave before the write they depend on is durable
    two_votes_in_a_term,        // voted_for is not looked at
    no_up_to_date_check,        // anyone may become leader (paper §5.4.1)
    commit_old_term_by_count,   // paper §5.4.2, figure 8
    minority_commits,           // half the voters count as a majority
    truncate_without_conflict,  // every AppendEntries cuts the log behind it (paper §5.3, step 3)
    commit_before_check,        // a follower takes the leader's commit index though its log does not match
    no_previous_check,          // AppendEntries accepted whatever precedes it
    stale_append_accepted,      // AppendEntries of a deposed leader accepted
    read_without_quorum,        // ReadIndex answered without a round of heartbeats
    read_before_own_commit,     // ReadIndex before the term's no-op is committed
    change_before_own_commit,   // membership change before an entry of the term is committed
    overlapping_changes,        // two uncommitted membership changes at once
    learner_counts,             // a server without a vote counts for the majority
    leader_counts_unsynced,     // the leader counts its own entries before they are durable
    dedup_not_in_snapshot,      // sessions are missing after a restore
    no_dedup,                   // a retried command is executed again
    torn_tail_kept,             // a torn tail is skipped at start but not cut off
    no_fsync,                   // the write-ahead log is never synced
    found_log_not_synced,       // what a restarted server reads counts as durable, synced or not
    found_log_only_synced,      // ... or synced as it is, though a sync before may have failed
    lost_disk_believed,         // a server that comes back without its disk is taken for itself
    voted_before_met,           // a server of a new cluster votes before the others have noted its incarnation
    count_,
};

constexpr std::array<std::string_view, static_cast<std::size_t>(Mutation::count_)> kMutationNames = {
    "none",
    "vote_not_persisted",
    "term_not_persisted",
    "answer_before_fsync",
    "two_votes_in_a_term",
    "no_up_to_date_check",
    "commit_old_term_by_count",
    "minority_commits",
    "truncate_without_conflict",
    "commit_before_check",
    "no_previous_check",
    "stale_append_accepted",
    "read_without_quorum",
    "read_before_own_commit",
    "change_before_own_commit",
    "overlapping_changes",
    "learner_counts",
    "leader_counts_unsynced",
    "dedup_not_in_snapshot",
    "no_dedup",
    "torn_tail_kept",
    "no_fsync",
    "found_log_not_synced",
    "found_log_only_synced",
    "lost_disk_believed",
    "voted_before_met",
};

}  // namespace understudy
