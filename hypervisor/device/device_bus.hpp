// The transport of the guest's devices: their pages in the layer's region (struct understudy_device), their queues, and
// the events by which they tell the guest. Drives each device at stops; devices know nothing of it.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "hypervisor/device/device.hpp"

namespace understudy::device {

// Used by the vCPU's thread, at stops.
class DeviceBus {
  public:
    // `page` finds the page of a device in guest memory; it is called whenever one is needed.
    DeviceBus(GuestMemory& memory, std::function<understudy_device&(std::size_t number)> page);

    // Devices are numbered in the order in which they are added. All of them before boot() or restore().
    std::size_t add(std::unique_ptr<Device> device);
    // Writes what the driver is to find; whatever a driver had done before is forgotten.
    void boot();

    // The driver has changed the status or the queues of device `number`.
    void changed(std::uint32_t number);
    // Every device takes what its driver has put out.
    void collect(std::vector<Output>& outputs);

    [[nodiscard]] const Device& device(std::size_t number) const { return *slots_[number].device; }
    // The queues of device `number`; empty unless its driver runs it.
    [[nodiscard]] std::span<Virtqueue> queues(std::size_t number);
    // Bit i: device i has something to tell its driver. Asked once a stop, after everything was done there.
    [[nodiscard]] std::uint64_t take_events();

    // A device has not finished what it took: see Device.
    [[nodiscard]] bool unfinished() const;

    void save(Encoder& encoder) const;
    // False: the bytes are no such state, or of other devices.
    [[nodiscard]] bool restore(Decoder& decoder);

  private:
    struct Slot {
        std::unique_ptr<Device> device;
        std::vector<Virtqueue> queues;
        bool running = false;
        bool needs_reset = false;    // its driver broke the rules, and was told
        std::uint64_t features = 0;  // what the driver chose
    };
    void reset(Slot& slot);
    void start(Slot& slot, const understudy_device& page);
    [[nodiscard]] static bool notice_damage(Slot& slot, understudy_device& page);
    [[nodiscard]] static std::uint64_t offered(const Device& device);

    GuestMemory& memory_;
    std::function<understudy_device&(std::size_t)> page_;
    std::vector<Slot> slots_;
};

}  // namespace understudy::device
