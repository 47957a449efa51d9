// The write-ahead log: hard state and log entries, durable before any answer that depends on them.
//
// Segments `wal-<number, 16 hex digits>`, little-endian throughout:
//
//   segment header, 32 bytes
//     0  8  "USTWAL01"
//     8  8  segment number: one more than the one before
//    16  8  number of its first batch
//    24  4  0
//    28  4  checksum of bytes 0..27
//   batches, each at a multiple of 8, numbered without a gap across segments
//     0  4  "WALB"
//     4  4  length of the items in bytes
//     8  8  batch number
//    16  4  number of items
//    20  4  checksum of bytes 0..19
//    24  …  items, then zeros to a multiple of 8
//   item
//     0  1  kind
//     1  4  length of the body
//     5  4  checksum of kind and body
//     9  …  body: base        u64 index, u64 term: of the entry before the first one here
//                 hard state  u64 term, u64 voted for
//                 entry       u64 index, u64 term, u8 kind, data; replaces whatever is there from its index on
//                 reset       u64 index, u64 term: the log is empty, what follows comes after a snapshot up to there
//
// One batch is one group commit: all that was waiting, written by one write and one fdatasync. The next batch is
// written only when the one before is durable. So whatever is wrong with the last batch is a torn tail that nobody was
// told of, and is cut off at start; a bad batch with a later one behind it was durable once, and is refused as damage.
// (Damage to the very last batch cannot be told from a torn write.)
#pragma once

#include <optional>

#include "arbiter/raft/node.hpp"
#include "arbiter/storage/file_system.hpp"

namespace understudy::arbiter {

struct WalContents {
    raft::HardState hard_state;
    raft::Index base_index = 0;
    raft::Term base_term = 0;
    std::vector<raft::Entry> entries;
};

// Where a segment's bytes stop being a sequence of whole batches.
struct SegmentScan {
    enum class End : std::uint8_t { whole, torn, damaged };
    End end = End::whole;
    std::uint64_t offset = 0;      // of the first byte behind the last good batch
    std::uint64_t next_batch = 0;  // the number that the next batch gets
    raft::Index lowest = 0;        // lowest index of an entry in it; 0: none
    std::string problem;           // torn or damaged: what is wrong at `offset`
};

// Reads one segment into `contents`; `first`: no segment precedes it. Pure, never throws, for any bytes.
[[nodiscard]] SegmentScan scan_segment(std::string_view bytes, std::uint64_t number,
                                       std::optional<std::uint64_t> expected_batch, bool first, WalContents& contents);

class Wal {
  public:
    // Reads what is there, cuts off a torn tail. Throws understudy::Error with file and offset on damage.
    Wal(Directory& directory, std::size_t segment_bytes);

    // Hands the contents over: they are not kept in memory twice.
    [[nodiscard]] WalContents take_contents();
    [[nodiscard]] std::uint64_t torn_bytes() const { return torn_bytes_; }
    [[nodiscard]] std::uint64_t bytes() const;

    // One batch; durable after sync(). The caller syncs before it appends again.
    void append(const raft::Write& write);
    // The log is now empty behind (index, term).
    void reset(raft::Index index, raft::Term term);
    void sync();
    // Removes segments that hold nothing behind `index`.
    void drop_before(raft::Index index);

  private:
    struct Segment {
        std::uint64_t number = 0;
        raft::Index base_index = 0;
        raft::Index lowest = 0;  // lowest index of an entry written in it; 0: none
        std::uint64_t size = 0;
    };
    [[nodiscard]] std::vector<std::uint64_t> needed_segments();
    [[nodiscard]] std::optional<std::uint64_t> load_segment(std::uint64_t number,
                                                            std::optional<std::uint64_t> expected_batch, bool first,
                                                            bool last);
    void start_segment();
    void put_batch(const std::string& items, std::uint32_t count);
    void note_last(raft::Index index, raft::Term term);

    Directory& directory_;
    std::size_t segment_bytes_;
    WalContents contents_;
    raft::HardState hard_state_;
    raft::Index last_index_ = 0;
    raft::Term last_term_ = 0;
    std::vector<Segment> segments_;
    std::vector<std::uint64_t> leftover_;  // segments from before a gap: no longer needed
    std::unique_ptr<File> file_;
    std::uint64_t offset_ = 0;
    std::uint64_t next_batch_ = 1;
    std::uint64_t torn_bytes_ = 0;
};

}  // namespace understudy::arbiter
