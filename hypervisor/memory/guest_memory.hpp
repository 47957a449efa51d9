// Guest physical memory: one host mapping, addressed by GuestAddress, every access checked.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

#include "common/error.hpp"
#include "common/execution.hpp"
#include "common/file_descriptor.hpp"
#include "common/units.hpp"

namespace understudy::memory {

struct GuestAddress {
    std::uint64_t value = 0;
    auto operator<=>(const GuestAddress&) const = default;
    [[nodiscard]] constexpr GuestAddress operator+(std::uint64_t offset) const { return {value + offset}; }
};

[[nodiscard]] bool is_zero(std::span<const std::byte> page);

// Owns the mapping; populated, because a first touch by the guest costs an exit of its own. Not thread-safe: touched by
// the vCPU's thread at stops only.
class GuestMemory {
  public:
    enum class Population { at_once, later };
    // Throws understudy::Error when the host has not that much memory.
    explicit GuestMemory(Bytes size, Population population = Population::at_once);
    ~GuestMemory();
    GuestMemory(const GuestMemory&) = delete;
    GuestMemory& operator=(const GuestMemory&) = delete;

    [[nodiscard]] Bytes size() const { return {bytes_.size()}; }
    [[nodiscard]] std::span<std::byte> all() { return bytes_; }
    [[nodiscard]] std::span<const std::byte> all() const { return bytes_; }

    // Zero all of it; where nothing was touched this costs nothing.
    void clear();
    // Populates on a thread of its own, while memory is in use already; done or given up when this object ends.
    void populate_in_background();
    void stop_populating();

    // Zeroes whole pages that the guest has no use for, and gives them back to the host. While a snapshot is taken of
    // this memory it may still want what they held: then they are only zeroed. A range outside memory is a programmer's
    // error and aborts.
    void discard(GuestAddress at, std::uint64_t size);

    // Held by a snapshot of this memory as long as there is one.
    class SnapshotUse {
      public:
        explicit SnapshotUse(GuestMemory& memory) : memory_(memory) {
            const std::lock_guard lock(memory_.discarding_);
            ++memory_.snapshots_;
        }
        ~SnapshotUse() {
            const std::lock_guard lock(memory_.discarding_);
            --memory_.snapshots_;
        }
        SnapshotUse(const SnapshotUse&) = delete;
        SnapshotUse& operator=(const SnapshotUse&) = delete;

      private:
        GuestMemory& memory_;
    };

    // Nothing when any byte of the range lies outside.
    [[nodiscard]] std::optional<std::span<std::byte>> range(GuestAddress at, std::uint64_t size);
    [[nodiscard]] std::optional<std::span<const std::byte>> range(GuestAddress at, std::uint64_t size) const;

    // --- What the monitor writes, for who copies memory while the guest lives
    // From now on the pages are noted that it writes: by at(), by discard(), and what wrote() is told.
    void note_writes();
    // These bytes of this memory were, or will be before the next take_noted(), written by range() or all().
    void wrote(std::span<const std::byte> bytes);
    // The numbers of the pages that were noted since the last call, in increasing order.
    [[nodiscard]] std::vector<std::uint64_t> take_noted();

    // By number, in increasing order. Pages that are in neither list have never been written, and are zero.
    struct EverWritten {
        std::vector<std::uint64_t> pages;  // all of them, where the host does not tell
        // Zero, and written long ago or only read: the host has its one page of zeros in their place.
        std::vector<std::uint64_t> zeros;
    };
    [[nodiscard]] EverWritten ever_written() const;

    // Those of the pages that there are; a count of 0 means all.
    [[nodiscard]] std::span<const std::byte> pages(PageRange range) const;

    // For structures the monitor itself placed; a range outside memory is a programmer's error and aborts.
    template <typename T>
    [[nodiscard]] T& at(GuestAddress address) {
        static_assert(std::is_trivially_copyable_v<T>);
        std::byte* const place = checked(address, sizeof(T));
        wrote({place, sizeof(T)});
        return *reinterpret_cast<T*>(place);
    }
    // For addresses the guest chose.
    template <typename T>
    [[nodiscard]] std::optional<T> read(GuestAddress address) {
        const auto bytes = range(address, sizeof(T));
        if (!bytes) {
            return std::nullopt;
        }
        T value;
        std::memcpy(&value, bytes->data(), sizeof value);
        return value;
    }

  private:
    std::byte* checked(GuestAddress address, std::size_t size);

    std::span<std::byte> bytes_;
    FileDescriptor page_map_;  // of this process; opened before it confines itself
    std::vector<bool> noted_;  // for each page; empty: nobody wants to know
    std::mutex discarding_;    // of what follows, and held while memory is discarded
    unsigned snapshots_ = 0;
    std::jthread populating_;
};

}  // namespace understudy::memory
