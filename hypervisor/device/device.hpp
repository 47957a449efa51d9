// A virtio device as its transport sees it (device_bus.hpp): what it offers, and what it does when its queues are
// looked at. Devices touch guest memory at stops only, on the vCPU's thread, and do there what follows from guest
// memory and the stop's input alone, so that every replica's do the same.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/execution.hpp"
#include "hypervisor/device/virtqueue.hpp"

namespace understudy::device {

class Device {
  public:
    virtual ~Device() = default;

    [[nodiscard]] virtual std::uint32_t id() const = 0;  // VIRTIO_ID_*
    // Of its own; the transport adds VIRTIO_F_VERSION_1 and those of the rings.
    [[nodiscard]] virtual std::uint64_t features() const = 0;
    [[nodiscard]] virtual std::vector<std::byte> config() const = 0;
    // The sizes of its queues, at most UNDERSTUDY_QUEUES.
    [[nodiscard]] virtual std::vector<std::uint32_t> queue_sizes() const = 0;

    // The driver has chosen; `queues` are this device's, as many as queue_sizes() says.
    virtual void started(std::uint64_t /*driver_features*/) {}
    // Takes what the driver put into its queues at this stop. What the guest says goes to `outputs`.
    virtual void collect(std::span<Virtqueue> queues, std::vector<Output>& outputs) = 0;

    // What it took at this stop is not done: it wants another one soon, whether the guest has something to do or not.
    [[nodiscard]] virtual bool unfinished() const { return false; }
    // The driver has reset it.
    virtual void reset() {}
    // What it remembers from stop to stop, beside its queues; the decoder notes what is no such state.
    virtual void save(Encoder& /*encoder*/) const {}
    virtual void restore(Decoder& /*decoder*/) {}
};

}  // namespace understudy::device
