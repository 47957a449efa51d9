// The vocabulary of an execution: stops, what is fed to the guest at them, what comes out. Value types, shared by the
// machine (which produces stops and outputs), the replication loop and the logging channel (which encodes records).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/ethernet.hpp"
#include "common/units.hpp"

namespace understudy {

// Time on the guest's monotonic clock, nanoseconds since boot.
using GuestTime = std::chrono::nanoseconds;
// No guest gets this old: 146 years. A clock that claims more is the work of a guest that wrote over its own, and sums
// of two clocks still have room.
constexpr GuestTime kMaxGuestTime{std::int64_t{1} << 62};
constexpr bool is_guest_time(GuestTime time) {
    return time >= GuestTime{0} && time <= kMaxGuestTime;
}

// Why the guest handed control to the monitor. The values stand in log files: never renumber.
enum class StopKind : std::uint8_t {
    idle = 1,     // nothing to do until an event or a deadline
    budget = 2,   // the instruction count reached the value that the monitor set
    request = 3,  // a synchronous call; see RequestKind
    exit = 4,     // the program ended; `argument` is its exit status (0-255, or 128 + signal)
    fault = 5,    // the guest broke; a report is available from the machine
    // The monitor interrupted a program at an instruction that no count names. Nobody can run this interval again: who
    // replays it takes over what it left behind (Delta).
    interrupt = 6,
};
constexpr StopKind kLastStopKind = StopKind::interrupt;

// What a request stop asks for. The values stand in log files: never renumber.
enum class RequestKind : std::uint8_t {
    none = 0,
    rdtsc = 1,         // answered with 8 bytes: the counter
    rdtscp = 2,        // the same; the processor number is always 0
    rdrand = 3,        // answered with 8 random bytes
    rdseed = 4,        // the same
    cpuid = 5,         // answered from the fixed table: no recorded answer
    xgetbv = 6,        // the same
    rdpid = 7,         // always 0: no recorded answer
    entropy = 8,       // answered with `argument` random bytes
    syscall_site = 9,  // first execution of a SYSCALL: the site is rewritten, no recorded answer
    flush = 10,        // an output ring is full and wants to be emptied, no recorded answer
    scan_code = 11,    // new executable memory wants its nondeterministic instructions replaced, no recorded answer
    device = 12,       // a driver has changed device `argument`, no recorded answer
    restart = 13,      // the guest starts again from its beginning, its clock and counts going on; no recorded answer
};
constexpr RequestKind kLastRequestKind = RequestKind::restart;

// A guest that ended because it wants to be started again.
constexpr std::uint64_t kExitReboot = 256;

struct Stop {
    StopNumber number;
    StopKind kind = StopKind::idle;
    RequestKind request = RequestKind::none;
    InstructionCount count;
    // idle: the deadline as GuestTime nanoseconds (UINT64_MAX: none). exit: the status, or kExitReboot. entropy: bytes
    // wanted.
    // fault: the exception vector. Otherwise 0.
    std::uint64_t argument = 0;

    bool operator==(const Stop&) const = default;
};

// The most random bytes that a guest gets at one stop.
constexpr std::size_t kMaxEntropy = 256;

// The most bytes of frames that a guest gets at one stop: a record holds them.
constexpr std::size_t kMaxInputFrameBytes = std::size_t{2} << 20;

// What the monitor feeds the guest at one stop: all the nondeterminism of one interval.
struct Input {
    GuestTime clock{0};             // the guest's clock from here on; never less than the guest has already read
    std::vector<Frame> frames;      // received frames, in order
    std::vector<std::byte> answer;  // random bytes, or the counter, where the guest waits for them
    std::vector<std::byte> typed;   // into the console

    bool operator==(const Input&) const = default;
};

// Consecutive pages of guest memory; a count of 0: all of it.
struct PageRange {
    std::uint64_t first = 0;
    std::uint64_t count = 0;

    bool operator==(const PageRange&) const = default;
};

// Of these pages, and of the extended register state.
struct MemoryDigest {
    PageRange pages;
    std::uint64_t value = 0;

    bool operator==(const MemoryDigest&) const = default;
};

// Digests of the replica's state at the stop, before the input is applied.
struct Digests {
    std::uint64_t registers = 0;           // general registers, RIP, RFLAGS (masked), FS base
    std::optional<std::uint64_t> outputs;  // of the outputs taken at this stop, if there were any
    std::optional<MemoryDigest> memory;    // where the recorder chose to compare

    bool operator==(const Digests&) const = default;
};

// Pages of guest memory, in increasing order, as bytes in some encoding (logging_channel/page_codec.hpp).
struct EncodedPages {
    std::vector<std::uint64_t> numbers;
    std::vector<std::byte> content;  // none: the pages are zero
    bool compressed = false;
    std::vector<bool> differences;  // for each page: its content is what it differs in from when it went last

    bool operator==(const EncodedPages&) const = default;
};

// What an interval left behind that was not run again but copied: the processor as it was at the stop, before anything
// was done there, and all pages that the guest has written since the stop before, and maybe others.
struct Delta {
    std::vector<std::byte> processor;  // for the same engine
    std::vector<EncodedPages> pages;   // no page twice

    bool operator==(const Delta&) const = default;
};

// One entry of the log.
//
// A *mark* is the first half of a record: the stop is known, its input is not yet. The primary writes one when the
// guest idles with outputs taken at that stop, so that they may leave as soon as the mark is acknowledged instead of
// waiting for the next input. The record that completes it follows with the same stop number. A backup that goes live
// behind a mark runs to its stop, and takes its own input there.
struct Record {
    Stop stop;
    Input input;
    Digests digests;
    bool mark = false;  // input is empty and means nothing
    // Of an interrupt stop, and of no other. Where the pages went ahead of the record it has the processor alone.
    std::shared_ptr<const Delta> delta;

    bool operator==(const Record& other) const {
        const bool same_delta = delta == other.delta || (delta && other.delta && *delta == *other.delta);
        return stop == other.stop && input == other.input && digests == other.digests && mark == other.mark &&
               same_delta;
    }
};

// What the guest shows the world, taken at a stop.
struct Output {
    enum class Kind : std::uint8_t { frame = 1, console = 2 };
    Kind kind = Kind::frame;
    std::vector<std::byte> bytes;

    bool operator==(const Output&) const = default;
};

}  // namespace understudy
