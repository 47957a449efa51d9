// Guest memory as it was at one stop, while the guest runs on and changes it. Nothing is copied at that stop: all of
// memory is write-protected, and whoever writes to a chunk of it first (guest or monitor) waits while that chunk is put
// aside. What was read is protected no more. (userfaultfd(2), UFFDIO_WRITEPROTECT; QEMU's background-snapshot does the
// same.) Where the host does not allow that, memory is copied at the stop after all, and the guest waits for it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "common/units.hpp"

namespace understudy::memory {

class MemorySnapshot {
  public:
    virtual ~MemorySnapshot() = default;  // gives up what was not read
    [[nodiscard]] virtual Bytes size() const = 0;
    // Copies what memory held from `offset` on. Each byte once, from front to back; from one thread, whichever. Throws
    // understudy::Error when there was no memory to put it aside.
    virtual void read(std::size_t offset, std::span<std::byte> into) = 0;
};

// On the vCPU's thread, at a stop. `memory` outlives the snapshot; of one memory there is one snapshot at a time, a
// second one is a copy. Throws understudy::Error when there is no memory left for a copy.
[[nodiscard]] std::unique_ptr<MemorySnapshot> take_snapshot(std::span<std::byte> memory);

// For tests, and for hosts: whether take_snapshot() can do without a copy here.
[[nodiscard]] bool can_protect_memory();

}  // namespace understudy::memory
