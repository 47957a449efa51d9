#include "arbiter/storage/storage.hpp"

#include <utility>

#include "common/codec.hpp"
#include "common/digest.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {
namespace {

constexpr std::string_view kMagic = "USTSNAP1";
constexpr std::string_view kPartial = ".partial";

std::string snapshot_name(raft::Index index) {
    return fmt::format("snapshot-{:016x}", index);
}

bool is_snapshot(const std::string& name) {
    return name.size() == 25 && name.starts_with("snapshot-") &&
           name.find_first_not_of("0123456789abcdef", 9) == std::string::npos;
}

}  // namespace

std::string encode_snapshot(const raft::Snapshot& snapshot) {
    std::string out(kMagic);
    out.reserve(snapshot.data.size() + 4096);
    Encoder encoder(out);
    encoder.u64(snapshot.last_index).u64(snapshot.last_term).bytes(snapshot.configuration.encode());
    encoder.u64(snapshot.data.size());
    out += snapshot.data;
    encoder.u64(digest(as_bytes(out)));
    return out;
}

raft::SnapshotPointer decode_snapshot(std::string_view bytes) {
    if (bytes.size() < kMagic.size() + 8 || !bytes.starts_with(kMagic)) {
        return nullptr;
    }
    const auto checked = bytes.substr(0, bytes.size() - 8);
    if (Decoder(bytes.substr(checked.size())).u64() != digest(as_bytes(checked))) {
        return nullptr;
    }
    Decoder decoder(checked.substr(kMagic.size()));
    raft::Snapshot snapshot;
    snapshot.last_index = decoder.u64();
    snapshot.last_term = decoder.u64();
    const auto configuration = decoder.bytes(raft::kMaxConfiguration);
    const auto size = decoder.u64();
    if (!decoder.ok() || size != decoder.remaining()) {
        return nullptr;
    }
    if (auto decoded = raft::Configuration::decode(configuration)) {
        snapshot.configuration = std::move(*decoded);
    } else if (snapshot.last_index != 0) {
        return nullptr;  // only a server that has yet to be told of its cluster has no configuration
    }
    snapshot.data = checked.substr(checked.size() - size);
    return std::make_shared<const raft::Snapshot>(std::move(snapshot));
}

void write_snapshot(Directory& directory, const raft::Snapshot& snapshot) {
    const auto name = snapshot_name(snapshot.last_index);
    const auto partial = name + std::string(kPartial);
    {
        const auto file = directory.open(partial);
        file->truncate(0);
        file->write(0, encode_snapshot(snapshot));
        file->sync();
    }
    directory.rename(partial, name);
    directory.sync();
}

Storage::Storage(Directory& directory, const std::optional<raft::Configuration>& bootstrap, std::size_t segment_bytes)
    : directory_(directory), wal_(directory, segment_bytes) {
    load(bootstrap);
}

// The newest snapshot there is; of an empty directory, a first one that holds `bootstrap` alone.
raft::SnapshotPointer Storage::newest_snapshot(const std::optional<raft::Configuration>& bootstrap, bool log_is_empty) {
    std::string newest;
    for (const auto& name : directory_.list()) {
        if (is_snapshot(name)) {
            newest = name;
        } else if (name.ends_with(kPartial)) {
            directory_.remove(name);
        }
    }
    if (newest.empty()) {
        if (!log_is_empty) {
            throw Error::format(
                "{} has a log but no snapshot to begin it; restore this server's data, or remove it "
                "from the cluster and add it anew with an empty directory",
                directory_.path(""));
        }
        if (!bootstrap) {
            throw Error::format(
                "{} is empty. A server that has lost its data must not come back as it was: remove it from the cluster "
                "and add another, with another number. If this is the first start: --bootstrap for a server of a new "
                "cluster, --join for one that is to be added",
                directory_.path(""));
        }
        was_empty_ = true;
        write_snapshot(directory_, {0, 0, *bootstrap, {}});
        newest = snapshot_name(0);
    }
    const auto bytes = directory_.read(newest);
    snapshot_bytes_ = bytes.size();
    auto snapshot = decode_snapshot(bytes);
    if (!snapshot) {
        throw Error::format(
            "{} is damaged; restore this server's data, or remove it from the cluster and add it anew "
            "with an empty directory",
            directory_.path(newest));
    }
    return snapshot;
}

void Storage::load(const std::optional<raft::Configuration>& bootstrap) {
    auto wal = wal_.take_contents();
    const auto snapshot = newest_snapshot(bootstrap, wal.base_index == 0 && wal.entries.empty());
    snapshot_index_ = snapshot->last_index;
    restored_.hard_state = wal.hard_state;
    restored_.snapshot = snapshot;

    // Does the log reach the snapshot, and agree with it? If it does not, the server died after it installed the
    // snapshot and before it emptied the log: the snapshot is what holds (paper, figure 13, steps 6 and 7).
    const auto last = wal.base_index + wal.entries.size();
    raft::Term at_snapshot = 0;
    if (snapshot->last_index == wal.base_index) {
        at_snapshot = wal.base_term;
    } else if (snapshot->last_index > wal.base_index && snapshot->last_index <= last) {
        at_snapshot = wal.entries[snapshot->last_index - wal.base_index - 1].term;
    }
    if (wal.base_index > snapshot->last_index) {
        throw Error::format(
            "the log in {} begins at index {}, behind the newest snapshot's {}: a snapshot is missing; "
            "restore this server's data",
            directory_.path(""), wal.base_index + 1, snapshot->last_index);
    }
    if (snapshot->last_index <= last && at_snapshot == snapshot->last_term) {
        restored_.base_index = wal.base_index;
        restored_.base_term = wal.base_term;
        restored_.entries = std::move(wal.entries);
    } else {
        restored_.base_index = snapshot->last_index;
        restored_.base_term = snapshot->last_term;
        wal_.reset(snapshot->last_index, snapshot->last_term);
    }
    remove_older_snapshots(snapshot->last_index);
}

raft::Restored Storage::take_restored() {
    return std::exchange(restored_, {});
}

void Storage::append(const raft::Write& write) {
    if (write.snapshot) {
        if (write.hard_state) {
            raft::Write first;
            first.hard_state = write.hard_state;
            wal_.append(first);
            wal_.sync();
        }
        write_snapshot(directory_, *write.snapshot);
        wal_.reset(write.snapshot->last_index, write.snapshot->last_term);
        snapshot_index_ = write.snapshot->last_index;
        snapshot_bytes_ = write.snapshot->data.size();
        remove_older_snapshots(snapshot_index_);
        if (write.entries.empty()) {
            return;
        }
        raft::Write rest = write;
        rest.snapshot = nullptr;
        rest.hard_state.reset();
        wal_.append(rest);
        return;
    }
    wal_.append(write);
}

void Storage::snapshot_written(const raft::Snapshot& snapshot) {
    if (snapshot.last_index < snapshot_index_) {
        return;  // one that a leader sent has overtaken it
    }
    snapshot_index_ = snapshot.last_index;
    snapshot_bytes_ = snapshot.data.size();
    remove_older_snapshots(snapshot.last_index);
    wal_.drop_before(snapshot.last_index);
}

void Storage::remove_older_snapshots(raft::Index index) {
    for (const auto& name : directory_.list()) {
        if (is_snapshot(name) && name < snapshot_name(index)) {
            directory_.remove(name);
        }
    }
}

}  // namespace understudy::arbiter
