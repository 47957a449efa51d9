// The guest's memory as KVM knows it: one slot, and the log of what the guest writes in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace understudy::engine {

// Not thread-safe: on the vCPU's thread, while the vCPU is not running.
class MemorySlot {
  public:
    // `vm` is a VM's descriptor, which with `memory` outlives this. Throws understudy::Error where KVM refuses.
    MemorySlot(int vm, std::span<std::byte> memory);

    // See Engine.
    bool track_writes(bool on);
    [[nodiscard]] std::vector<std::uint64_t> written_pages();
    void forget_writes(std::span<const std::uint64_t> pages);
    // KVM drops what it made of the guest's page tables: it does not see what the monitor writes into them.
    void recreate();

  private:
    void set(std::size_t size);

    const int vm_;
    const std::span<std::byte> memory_;
    bool tracked_ = false;
    std::vector<std::uint64_t> bitmap_;  // for KVM to read and write, a bit a page
};

}  // namespace understudy::engine
