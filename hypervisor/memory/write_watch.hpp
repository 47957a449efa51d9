// userfaultfd(2) with write protection, as far as snapshots need it: whoever writes to a protected page of this
// process's memory waits, the kernel included where it writes for a guest, until the protection is lifted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "common/file_descriptor.hpp"

namespace understudy::memory {

// Not thread-safe, but for next_fault(), which may be called while another thread does the rest. Ranges are whole
// pages.
class WriteWatch {
  public:
    // Nothing where the host does not allow it, or when another watch has that memory.
    static std::optional<WriteWatch> of(std::span<std::byte> memory);

    // False: the kernel refused.
    bool protect(std::span<std::byte> range);
    // Both wake who waits for the range. After forget() it is watched no more.
    void unprotect(std::span<std::byte> range);
    void forget(std::span<std::byte> range);

    // Readable while somebody waits.
    [[nodiscard]] int descriptor() const { return fd_.get(); }
    // The address that somebody waits for; nothing when nobody does.
    [[nodiscard]] std::optional<std::uint64_t> next_fault();

    // Whether the host allows it at all.
    [[nodiscard]] static bool possible();

  private:
    WriteWatch(FileDescriptor fd, bool protects_absent) : fd_(std::move(fd)), protects_absent_(protects_absent) {}

    FileDescriptor fd_;
    bool protects_absent_;  // pages that were never touched, too
};

}  // namespace understudy::memory
