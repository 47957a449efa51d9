// The file that `understudy run --record FILE` writes and `understudy replay FILE` reads. Append-only; numbers are
// little-endian:
//
//   offset  size
//        0     8  magic "USTDYLOG"
//        8     4  format version, kLogFormatVersion
//       12     4  length H of the header
//       16     H  wire::LogFileHeader
//     16+H     4  checksum of everything before
//                 -- the initial state: chunks until the end chunk --
//              4  length C of the chunk
//              4  checksum of the chunk
//              C  wire::StateChunk (state_codec.hpp)
//                 -- the records, in order --
//                 see record_codec.hpp: length (varint), checksum, wire::LogRecord
//                 -- where the recorder ended in order --
//              1  0 (no record has length 0)
//              4  the checksum of the last record
//
// A file without that end was left by a recorder that died; whatever is whole in it can be replayed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "common/execution.hpp"
#include "common/guest_shape.hpp"
#include "logging_channel/record_codec.hpp"
#include "logging_channel/state_codec.hpp"

namespace understudy::channel {

constexpr std::uint32_t kLogFormatVersion = 6;

// Which guest, on what, from where on.
struct LogHeader {
    VmId vm;
    std::string engine;
    std::uint64_t cpu_table_digest = 0;
    GuestShape guest;
    std::string image;                       // the guest's disk, on the recording host; empty: none
    std::uint64_t quantum = 0;               // counts
    std::chrono::nanoseconds start_time{0};  // since 1970, on the recording host
    std::string command_line;
    std::string recorder;  // version of the program that writes
    LogBase base;

    bool operator==(const LogHeader&) const = default;
};

// Writes a log. One thread. Every method throws understudy::Error when the file cannot be written (disk full).
//
// Flush policy: bytes go to the file when 256 KiB have gathered, at flush(), finish() and destruction. Nothing is
// fsync'ed: the file is for replay, not for takeover; a crash of the host may cut it, and the reader says where.
class LogWriter {
  public:
    // Creates or truncates `path` and writes header and state.
    LogWriter(const std::filesystem::path& path, const LogHeader& header, std::unique_ptr<StateSource> memory,
              std::vector<std::byte> vcpu_state);
    LogWriter(const std::filesystem::path& path, const LogHeader& header, std::span<const std::byte> memory,
              std::vector<std::byte> vcpu_state);
    // Flushes what it can; without finish() the file has no end mark, like that of a recorder that died.
    ~LogWriter();
    LogWriter(const LogWriter&) = delete;
    LogWriter& operator=(const LogWriter&) = delete;

    void append(const Record& record);
    // Of the delta of the record that is appended next.
    void append(const EncodedPages& pages);
    void flush();
    // Writes the end mark and flushes. Nothing may follow.
    void finish();

    [[nodiscard]] std::uint64_t records() const { return records_; }
    [[nodiscard]] Bytes size() const { return {written_ + buffer_.size()}; }

  private:
    void write_header(const LogHeader& header);
    void flush_if_full();

    std::string path_;
    int fd_;
    RecordEncoder encoder_;
    std::vector<std::byte> buffer_;
    std::uint64_t written_ = 0;
    std::uint64_t records_ = 0;
};

// How a log ends.
struct LogEnd {
    enum class How {
        finished,    // with the end mark
        unfinished,  // behind a whole record, without the end mark: the recorder died
        truncated,   // within a record
        corrupted,   // a record is not what was written
    };
    How how = How::finished;
    std::uint64_t offset = 0;   // of the first byte that is not part of a whole record
    std::uint64_t records = 0;  // whole records before it
    StopNumber last;            // the last whole record's stop; the base's when there is none
    std::string detail;         // of truncated and corrupted

    // One line: "the log breaks at byte N after record M (stop S): ...".
    [[nodiscard]] std::string describe() const;
};

// Reads a log. One thread. The constructor and read_state() throw understudy::Error where there is nothing to replay:
// no such file, not a log, another format version, a damaged header or state. I/O errors throw everywhere.
class LogReader {
  public:
    explicit LogReader(const std::filesystem::path& path);
    ~LogReader();
    LogReader(const LogReader&) = delete;
    LogReader& operator=(const LogReader&) = delete;

    [[nodiscard]] const LogHeader& header() const { return header_; }

    // Fills `memory` (header().guest.memory bytes, zero) with the initial state and returns the vCPU's. Once, before
    // next().
    [[nodiscard]] std::vector<std::byte> read_state(std::span<std::byte> memory);
    // Passes over the initial state instead, checking its checksums.
    void skip_state();

    // The next record, or how the log ends (again at every further call).
    [[nodiscard]] std::variant<Record, LogEnd> next();

    // The file offset of what next() looks at next.
    [[nodiscard]] std::uint64_t offset() const { return offset_; }

  private:
    [[nodiscard]] std::span<const std::byte> ahead() const;
    bool ensure(std::size_t bytes);
    void consume(std::size_t bytes);
    void read_header();
    std::vector<std::byte> read_chunk();
    std::optional<std::variant<Record, LogEnd>> next_entry();
    LogEnd end(LogEnd::How how, std::string detail = {}) const;

    std::string path_;
    int fd_;
    LogHeader header_;
    RecordDecoder decoder_;
    std::vector<std::byte> buffer_;  // of the file, from offset_ - position_ on
    std::size_t position_ = 0;       // of the next byte within buffer_
    std::uint64_t offset_ = 0;
    std::uint64_t records_ = 0;
    bool at_end_of_file_ = false;
};

}  // namespace understudy::channel
