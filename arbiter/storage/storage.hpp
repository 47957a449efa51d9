// One server's durable state: the write-ahead log (wal.hpp) and the newest snapshot beside it.
//
// Snapshot file `snapshot-<last index, 16 hex digits>`, little-endian, written as `….partial`, synced, then renamed:
//
//     0  8  "USTSNAP1"
//     8  8  last index
//    16  8  last term
//    24  …  configuration (u32 length, raft::Configuration::encode)
//     …  …  data (u64 length, bytes)
//     …  8  digest of all before
#pragma once

#include <optional>

#include "arbiter/raft/node.hpp"
#include "arbiter/storage/file_system.hpp"
#include "arbiter/storage/wal.hpp"

namespace understudy::arbiter {

[[nodiscard]] std::string encode_snapshot(const raft::Snapshot& snapshot);
// nullptr: not a whole snapshot.
[[nodiscard]] raft::SnapshotPointer decode_snapshot(std::string_view bytes);

// Writes the snapshot under another name, syncs it and renames it. Touches no other file, so it may run on a thread of
// its own while the directory's Storage is used on another. Throws understudy::Error.
void write_snapshot(Directory& directory, const raft::Snapshot& snapshot);

// Not thread-safe. Every method that writes throws understudy::Error when the disk fails.
class Storage {
  public:
    // Reads what is there. An empty directory gets `bootstrap`, the configuration of a new cluster; a server that joins
    // a cluster gives one without members; none: it must not be empty. `directory` outlives the storage. The log begins
    // a new segment file after `segment_bytes`. Throws understudy::Error, on damage with the file and what to do.
    Storage(Directory& directory, const std::optional<raft::Configuration>& bootstrap, std::size_t segment_bytes);

    // What the Raft node starts from; once.
    [[nodiscard]] raft::Restored take_restored();
    [[nodiscard]] bool was_empty() const { return was_empty_; }
    // Cut off the log's end at start, see wal.hpp.
    [[nodiscard]] std::uint64_t torn_bytes() const { return wal_.torn_bytes(); }
    [[nodiscard]] std::uint64_t wal_bytes() const { return wal_.bytes(); }
    [[nodiscard]] std::uint64_t snapshot_bytes() const { return snapshot_bytes_; }

    // Durable after sync(), which must come before the next append(). A snapshot in it is durable at once.
    void append(const raft::Write& write);
    void sync() { wal_.sync(); }
    // write_snapshot() has finished: removes older snapshots and what the log no longer needs.
    void snapshot_written(const raft::Snapshot& snapshot);

  private:
    void load(const std::optional<raft::Configuration>& bootstrap);
    [[nodiscard]] raft::SnapshotPointer newest_snapshot(const std::optional<raft::Configuration>& bootstrap,
                                                        bool log_is_empty);
    void remove_older_snapshots(raft::Index index);

    Directory& directory_;
    bool was_empty_ = false;
    std::uint64_t snapshot_bytes_ = 0;
    raft::Index snapshot_index_ = 0;
    Wal wal_;
    raft::Restored restored_;
};

}  // namespace understudy::arbiter
