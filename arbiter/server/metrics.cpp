#include "arbiter/server/metrics.hpp"

#include <fmt/format.h>

#include <iterator>

namespace understudy::arbiter {

std::string prometheus_text(const ServerCore& core, const ConnectionCounts& connections) {
    std::string out;
    const auto metric = [&](std::string_view name, std::string_view type, std::string_view help, auto value) {
        fmt::format_to(
            std::back_inserter(out),
            "# HELP understudy_arbiter_{0} {1}\n# TYPE understudy_arbiter_{0} {2}\nunderstudy_arbiter_{0} {3}\n", name,
            help, type, value);
    };
    const auto status = core.status();
    const auto& raft = status.raft;
    const auto& counters = core.counters();
    metric("term", "gauge", "Current term.", raft.term);
    metric("is_leader", "gauge", "1 while this server leads.", raft.role == raft::Role::leader ? 1 : 0);
    metric("leader_id", "gauge", "The leader this server follows, 0 for none.", raft.leader);
    metric("commit_index", "gauge", "Highest index known to be committed.", raft.commit_index);
    metric("applied_index", "gauge", "Highest index applied to the state machine.", raft.applied_index);
    metric("last_index", "gauge", "Highest index in the log.", raft.last_index);
    metric("snapshot_index", "gauge", "Last index the newest snapshot covers.", raft.snapshot_index);
    metric("wal_bytes", "gauge", "Size of the write-ahead log on disk.", status.wal_bytes);
    metric("snapshot_bytes", "gauge", "Size of the newest snapshot.", status.snapshot_bytes);
    metric("vms", "gauge", "Registered VMs.", status.vms);
    metric("sessions", "gauge", "Client sessions.", status.sessions);
    metric("elections_won_total", "counter", "Elections this server won.", counters.elections_won);
    metric("commands_total", "counter", "Commands applied.", counters.commands);
    metric("commands_repeated_total", "counter", "Repeated commands answered from their session.", counters.repeated);
    metric("reads_total", "counter", "Linearizable reads answered.", counters.reads);
    metric("redirects_total", "counter", "Requests sent to another server or back later.", counters.redirects);
    metric("group_commits_total", "counter", "Batches made durable.", counters.writes);
    metric("group_commit_seconds_total", "counter", "Time spent making batches durable.",
           static_cast<double>(connections.sync_microseconds) / 1e6);
    metric("entries_written_total", "counter", "Log entries made durable.", counters.entries_written);
    metric("snapshots_taken_total", "counter", "Snapshots this server took.", counters.snapshots_taken);
    metric("snapshots_installed_total", "counter", "Snapshots received from a leader.", counters.snapshots_installed);
    metric("client_connections", "gauge", "Open client connections.", connections.clients);
    metric("peer_connections", "gauge", "Open connections to other servers.", connections.peers);
    metric("connections_refused_total", "counter", "Connections refused or broken off for cause.", connections.refused);
    if (raft.role == raft::Role::leader) {
        out +=
            "# HELP understudy_arbiter_member_lag_entries Entries that a member has not yet stored.\n"
            "# TYPE understudy_arbiter_member_lag_entries gauge\n";
        for (const auto& member : raft.members) {
            fmt::format_to(std::back_inserter(out), "understudy_arbiter_member_lag_entries{{member=\"{}\"}} {}\n",
                           member.id, raft.last_index - std::min(raft.last_index, member.match_index));
        }
    }
    return out;
}

}  // namespace understudy::arbiter
