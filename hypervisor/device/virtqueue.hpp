// The device's side of one split virtqueue (virtio 1.2, section 2.7), in guest memory that the guest may change as it
// likes: every index, length and address is checked at each use. Touched at stops only, so nothing changes meanwhile.
//
// What the device must remember (how far it has read and written) is kept here, outside the guest's reach, and travels
// with a state transfer. Not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/codec.hpp"
#include "guest/abi/paravirtual.h"
#include "hypervisor/memory/guest_memory.hpp"

namespace understudy::device {

using memory::GuestAddress;
using memory::GuestMemory;

// A request or buffer of the driver: what the device may read, then what it may write, in the order of the chain.
struct Chain {
    std::uint16_t head = 0;
    std::vector<std::span<const std::byte>> readable;
    std::vector<std::span<std::byte>> writable;

    [[nodiscard]] std::size_t readable_bytes() const;
    [[nodiscard]] std::size_t writable_bytes() const;
};

class Virtqueue {
  public:
    explicit Virtqueue(GuestMemory& memory) : memory_(memory) {}

    // What the driver wrote into the device's page. False, and the queue is not ready, when it makes no sense.
    bool configure(const understudy_queue& queue, bool event_index);
    void reset();
    [[nodiscard]] bool ready() const { return size_ != 0; }

    // Chains that wait for the device; 0 where the guest's index makes no sense.
    [[nodiscard]] std::uint16_t waiting() const;
    // Takes the next chain. Nothing: none waits, or the queue is broken.
    [[nodiscard]] std::optional<Chain> take();
    // Looks at the chain that comes after `ahead` others, and leaves it.
    [[nodiscard]] std::optional<Chain> peek(std::uint16_t ahead = 0) const;
    // Gives a chain back, `written` bytes of its writable part filled.
    void give_back(std::uint16_t head, std::uint32_t written);
    // Takes every chain that waits at the time of the call, and gives it back with as many bytes written as `serve`
    // returns. It ends, whatever the device writes over the queue meanwhile.
    template <typename Serve>
    void take_all(Serve serve) {
        for (std::uint16_t left = waiting(); left > 0; --left) {
            const auto chain = take();
            if (!chain) {
                return;
            }
            give_back(chain->head, serve(*chain));
        }
    }
    // Whether the driver wants to be told of what was given back since it was told last. Asked once for each such
    // batch.
    [[nodiscard]] bool wants_event();
    // Has the driver notify with the next chain.
    void watch();

    // Looks whether the guest keeps to the rules: the index it moved, the chain that comes next. To be asked at each
    // stop.
    void inspect();
    // It does not: nothing is done for this queue until it is reset.
    [[nodiscard]] bool broken() const { return broken_; }

    void save(Encoder& encoder) const;
    // False: the bytes are no such state.
    [[nodiscard]] bool restore(Decoder& decoder);

  private:
    static constexpr std::uint32_t kMaxSize = 1024;
    static constexpr std::size_t kMaxChain = 1024;  // descriptors, indirect ones included

    struct Descriptor {
        std::uint64_t address;
        std::uint32_t length;
        std::uint16_t flags;
        std::uint16_t next;
    };

    [[nodiscard]] bool lies_in_memory() const;
    [[nodiscard]] std::uint16_t moved() const;
    [[nodiscard]] std::uint16_t read16(std::uint64_t address) const;
    void write16(std::uint64_t address, std::uint16_t value);
    [[nodiscard]] std::optional<Chain> chain_at(std::uint16_t head) const;
    [[nodiscard]] bool add_descriptors(Chain& chain, std::uint64_t table, std::uint32_t entries, std::uint16_t first,
                                       bool indirect_allowed) const;

    GuestMemory& memory_;
    std::uint32_t size_ = 0;  // 0: not ready
    std::uint64_t descriptors_ = 0;
    std::uint64_t available_ = 0;
    std::uint64_t used_ = 0;
    bool event_index_ = false;
    std::uint16_t next_available_ = 0;
    std::uint16_t next_used_ = 0;
    std::uint16_t told_used_ = 0;  // next_used_ when wants_event() was asked last
    bool broken_ = false;
};

}  // namespace understudy::device
