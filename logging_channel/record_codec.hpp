// Records as bytes, the same in a log file and on the logging channel. One encoded record:
//
//   +----------------------+-------------------+------------------------------+
//   | length, varint (1-4) | checksum, u32 LE  | wire::LogRecord, length bytes |
//   +----------------------+-------------------+------------------------------+
//
// The message holds differences to the record before it, so encoder and decoder both carry a base: where the log
// starts, then always the last record; and the heads of the frames so far (frame_codec.hpp). The checksum is the low
// half of digest(message, seed), the seed being the previous record's checksum (0 at the base): a record that is
// damaged, missing, repeated or out of place shows.
//
// A stop without input costs about 30 bytes: 9 for the register digest, 4 for the checksum, the rest small varints.
//
// What an interval left behind that was copied (Delta) goes before its record: entries of the same form that hold pages
// and nothing else. The record completes them; what is cut off before it means nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "common/execution.hpp"
#include "logging_channel/frame_codec.hpp"

namespace understudy::wire {
class LogRecord;
}

namespace understudy::channel {

// No record is larger. Above what a stop gathers (kMaxInputFrameBytes of frames, of at least kMinFrameBytes each and
// with a few bytes around it), far below what would hurt to allocate.
constexpr std::size_t kMaxRecordBytes = 4U << 20;
static_assert(kMaxInputFrameBytes + kMaxInputFrameBytes / kMinFrameBytes * 6 + (64U << 10) <= kMaxRecordBytes);

// Where a log starts: the boot, or the stop at which a state transfer was taken.
struct LogBase {
    StopNumber stop;
    InstructionCount count;
    GuestTime clock{0};

    bool operator==(const LogBase&) const = default;
};

class RecordEncoder {
  public:
    explicit RecordEncoder(LogBase base = {});
    ~RecordEncoder();
    RecordEncoder(RecordEncoder&&) noexcept;
    RecordEncoder& operator=(RecordEncoder&&) noexcept;

    // Appends `record` to `out` and returns how many bytes that took. Aborts on a record that no decoder would accept:
    // a stop number or count that does not grow, a frame or a whole beyond its bound.
    std::size_t encode(const Record& record, std::vector<std::byte>& out);
    // Pages of the delta whose record is encoded next, ahead of those that the record itself has.
    std::size_t encode(const EncodedPages& pages, std::vector<std::byte>& out);

    // The checksum of the last record: what the next one continues.
    [[nodiscard]] std::uint32_t chain() const { return chain_; }

  private:
    std::size_t append(std::vector<std::byte>& out);

    std::unique_ptr<wire::LogRecord> message_;  // kept for its buffers
    LogBase base_;
    FrameCodec frames_;
    std::uint32_t chain_ = 0;
};

// Why bytes are no record. Everything but `truncated` is final: the decoder has lost its place.
enum class RecordFault {
    truncated,     // more bytes are needed; the decoder is unchanged
    bad_length,    // the length is 0, above kMaxRecordBytes or no varint
    bad_checksum,  // damaged, or not the record that follows the one before
    malformed,     // a whole message that is no LogRecord
    bad_value,     // a field beyond its range: an unknown kind, a count that overflows, a frame too short or too long
};
[[nodiscard]] std::string_view describe(RecordFault fault);

struct DecodedRecord {
    Record record;
    std::size_t size = 0;  // bytes that it took
};
// Kept until the record comes that they belong to.
struct DecodedPages {
    std::size_t size = 0;
};
using DecodedEntry = std::variant<DecodedRecord, DecodedPages, RecordFault>;

class RecordDecoder {
  public:
    // `memory` bounds what is kept of a delta: that of the guest.
    explicit RecordDecoder(LogBase base = {}, Bytes memory = {});
    ~RecordDecoder();
    RecordDecoder(RecordDecoder&&) noexcept;
    RecordDecoder& operator=(RecordDecoder&&) noexcept;

    // The entry at the front of `bytes`. Never throws on bad bytes.
    [[nodiscard]] DecodedEntry decode(std::span<const std::byte> bytes);

    [[nodiscard]] std::uint32_t chain() const { return chain_; }
    // The last record's position.
    [[nodiscard]] const LogBase& base() const { return base_; }

  private:
    [[nodiscard]] bool keep_pages();
    [[nodiscard]] bool take_frames(std::vector<Frame>& frames);
    [[nodiscard]] bool complete_delta(Record& record);

    std::unique_ptr<wire::LogRecord> message_;
    LogBase base_;
    FrameCodec frames_;
    std::uint32_t chain_ = 0;
    std::uint64_t memory_pages_;
    std::vector<EncodedPages> pages_;  // of the record to come
    std::uint64_t kept_ = 0;           // of them, all together
};

}  // namespace understudy::channel
