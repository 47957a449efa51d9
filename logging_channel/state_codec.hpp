// A replica's state as a sequence of chunks, the same in a log file and on the logging channel: runs of pages in
// increasing order, zero pages left out; then the vCPU's state; then the end with a digest over all of it. A chunk is
// one serialized wire::StateChunk; what carries it tells its length.
//
// The digest: d = memory size; for each run d = digest(page bytes, digest(first page as u64 LE, d)); at last
// d = digest(vCPU state, d). It is taken over what the pages hold, so it also vouches for the (de)compression.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "common/units.hpp"

namespace understudy::channel {

constexpr std::size_t kPagesPerChunk = 64;
constexpr std::size_t kMaxVcpuStateBytes = 1U << 20;
// No encoded chunk is larger.
constexpr std::size_t kMaxChunkBytes = kMaxVcpuStateBytes + 64;
constexpr std::uint64_t kMaxMemoryBytes = 1ULL << 40;

struct StateProgress {
    Bytes done;  // of guest memory, zero pages included
    Bytes total;
};

// Where the encoder takes guest memory from.
class StateSource {
  public:
    virtual ~StateSource() = default;
    // Whole pages.
    [[nodiscard]] virtual Bytes size() const = 0;
    // Copies what memory held, from `offset` on, when the state was taken. Each byte is read once, from front to back.
    // Throws understudy::Error when it cannot be had; the transfer is over then.
    virtual void read(std::size_t offset, std::span<std::byte> into) = 0;
};

// Memory that stays as it is until the last chunk was taken.
class QuietMemory final : public StateSource {
  public:
    explicit QuietMemory(std::span<const std::byte> memory) : memory_(memory) {}
    [[nodiscard]] Bytes size() const override { return {memory_.size()}; }
    void read(std::size_t offset, std::span<std::byte> into) override;

  private:
    std::span<const std::byte> memory_;
};

class StateEncoder {
  public:
    // `compression` is a zstd level; 0 leaves pages as they are. Aborts on a memory or vCPU state beyond the bounds
    // above.
    StateEncoder(std::unique_ptr<StateSource> memory, std::vector<std::byte> vcpu_state, int compression = 0);

    // Appends the next chunk to `out`; or nothing, when the memory it looked at was zero: it looks at a megabyte
    // at the most. False: the end chunk was given before, there is none left.
    bool next(std::vector<std::byte>& out);
    [[nodiscard]] StateProgress progress() const;

  private:
    enum class Stage { pages, vcpu, end, over };

    void load_window();
    bool next_run(std::vector<std::byte>& out);

    std::unique_ptr<StateSource> memory_;
    std::size_t pages_;              // of all
    std::vector<std::byte> window_;  // the pages that are looked at just now
    std::size_t window_at_ = 0;      // its first page
    std::vector<std::byte> vcpu_state_;
    int compression_;
    Stage stage_ = Stage::pages;
    std::size_t page_ = 0;  // the next to look at
    std::uint64_t pages_sent_ = 0;
    std::uint64_t digest_;
};

// Why a chunk was refused; each is final for the transfer.
enum class StateFault {
    malformed,  // no StateChunk, or an empty one
    bad_run,    // out of order, beyond the memory, or of a length that is not its page count
    bad_compression,
    bad_order,   // pages behind the vCPU's state, an end without it, anything behind the end
    too_large,   // a vCPU state beyond kMaxVcpuStateBytes
    bad_digest,  // all chunks fit, but they are not what was sent
};
[[nodiscard]] std::string_view describe(StateFault fault);

class StateDecoder {
  public:
    // Fills `memory`, which must be zero now and valid until the state is complete.
    explicit StateDecoder(std::span<std::byte> memory);

    // Takes the next chunk; false: it was refused, see fault().
    [[nodiscard]] bool accept(std::span<const std::byte> chunk);

    [[nodiscard]] bool complete() const { return stage_ == Stage::over; }
    // Why accept() returned false.
    [[nodiscard]] StateFault fault() const { return fault_; }
    [[nodiscard]] StateProgress progress() const;
    // After complete().
    [[nodiscard]] const std::vector<std::byte>& vcpu_state() const { return vcpu_state_; }

  private:
    enum class Stage { pages, end, over };

    bool refuse(StateFault fault);
    bool accept_run(std::uint64_t first, std::uint32_t count, std::span<const std::byte> data, bool zstd);

    std::span<std::byte> memory_;
    std::vector<std::byte> vcpu_state_;
    Stage stage_ = Stage::pages;
    StateFault fault_ = StateFault::malformed;
    std::uint64_t next_page_ = 0;
    std::uint64_t pages_received_ = 0;
    std::uint64_t digest_;
};

}  // namespace understudy::channel
