// Guest memory as it was at one stop, while the guest runs on and changes it. Nothing is copied at that stop: memory is
// write-protected, and whoever writes to a block of it first (guest or monitor) waits while that block is put aside.
// What was read is protected no more. (userfaultfd(2); QEMU's background-snapshot does the same.)
//
// Protecting much memory takes longer than a guest may stand still. So it is done piece by piece before that stop,
// while the guest runs; at the stop only what was written meanwhile is protected again. Where the host does not allow
// protection, memory is copied at the stop after all, and the guest waits for it.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>

#include "common/units.hpp"
#include "hypervisor/memory/guest_memory.hpp"

namespace understudy::memory {

struct SnapshotConfig {
    // The most memory that is taken for what is put aside; 0: half of what host and control groups have to spare when
    // it begins. Beyond it the snapshot is given up; the guest goes on.
    Bytes put_aside{0};
};

class MemorySnapshot {
  public:
    virtual ~MemorySnapshot() = default;  // gives up what was not read
    [[nodiscard]] virtual Bytes size() const = 0;
    // Little is left to do at the stop. From any thread.
    [[nodiscard]] virtual bool ready() const = 0;
    // On the vCPU's thread, at the stop whose memory it is to show; once, best when ready(). Throws understudy::Error
    // when it cannot be taken.
    virtual void take() = 0;
    // Copies what memory held from `offset` on. After take(); each byte once, from front to back; from one thread,
    // whichever. Throws understudy::Error when what was there could not be put aside.
    virtual void read(std::size_t offset, std::span<std::byte> into) = 0;

    struct Cost {
        std::chrono::nanoseconds longest_wait{0};  // of a writer for its block, since take()
        Bytes put_aside;                           // at the same time, at the most
    };
    // From any thread.
    [[nodiscard]] virtual Cost cost() const = 0;
};

// Begins to make ready. `memory` outlives the snapshot and is not populated in the background any further; of one
// memory there is one snapshot at a time, a second one is a copy. Throws understudy::Error when there is no memory left
// for a copy.
[[nodiscard]] std::unique_ptr<MemorySnapshot> prepare_snapshot(GuestMemory& memory, const SnapshotConfig& config = {});

// For tests, and for hosts: whether a snapshot can do without a copy here.
[[nodiscard]] bool can_protect_memory();

}  // namespace understudy::memory
