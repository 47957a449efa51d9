// The write-ahead log: a server's hard state and log entries, durable before any answer that depends on them.
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
// One batch is one group commit: all that was waiting, made durable by one write and one fdatasync. The next batch is
// written only when the one before is durable. So a last batch that is not whole was never acknowledged to anybody: a
// torn write, cut off at start. A bad batch with a later one behind it was durable once: damage, and refused. (Damage
// to the very last batch cannot be told from a torn write.)
#pragma once

#include <optional>

#include "arbiter/raft/node.hpp"
#include "arbiter/storage/file_system.hpp"

namespace understudy::arbiter {

struct WalContents {
    raft::HardState hard_state;
    raft::Index base_index = 0;  // of the entry before the first of `entries`
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

// Reads segment `number` into `contents`; `first`: no segment precedes it, and nothing is known of what came before.
// `expected_batch`: the number that its first batch must have. Pure; takes any bytes and never throws.
[[nodiscard]] SegmentScan scan_segment(std::string_view bytes, std::uint64_t number,
                                       std::optional<std::uint64_t> expected_batch, bool first, WalContents& contents);

// Not thread-safe. Every method that writes throws understudy::Error when the disk fails.
class Wal {
  public:
    // Reads what is there, cuts off what was not wholly written and makes the rest durable. `directory` outlives the
    // log; a segment file that has reached `segment_bytes` is followed by another. Throws understudy::Error, on damage
    // with file and offset.
    Wal(Directory& directory, std::size_t segment_bytes);

    // What was read at start; once, so that it is not in memory twice.
    [[nodiscard]] WalContents take_contents();
    // How much was cut off at start.
    [[nodiscard]] std::uint64_t torn_bytes() const { return torn_bytes_; }
    // The size of all segments.
    [[nodiscard]] std::uint64_t bytes() const;

    // Writes hard state and entries as one batch; durable after sync(), which must come before the next append().
    void append(const raft::Write& write);
    void sync();
    // Empties the log, durably: what is appended next follows on the entry (index, term), which a snapshot covers.
    void reset(raft::Index index, raft::Term term);
    // A snapshot covers the log up to `index`: removes the segments that nobody needs to read what follows.
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
    void write_again(const std::string& name, std::string_view bytes);
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
