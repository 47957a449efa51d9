// virtio-net (virtio 1.2, section 5.1): one pair of queues, checksum and segmentation offload both ways, mergeable
// receive buffers. A frame here carries the device's header in front (common/ethernet.hpp).
#pragma once

#include "common/ethernet.hpp"
#include "hypervisor/device/device.hpp"

namespace understudy::device {

class NetDevice final : public Device {
  public:
    explicit NetDevice(const MacAddress& mac) : mac_(mac) {}

    [[nodiscard]] std::uint32_t id() const override;
    [[nodiscard]] std::uint64_t features() const override;
    [[nodiscard]] std::vector<std::byte> config() const override;
    [[nodiscard]] std::vector<std::uint32_t> queue_sizes() const override;
    void started(std::uint64_t driver_features) override { driver_features_ = driver_features; }
    void collect(std::span<Virtqueue> queues, std::vector<Output>& outputs) override;

    // How many receive buffers the driver has put out.
    [[nodiscard]] static std::size_t receive_buffers(std::span<Virtqueue> queues);
    // Puts `frames` into receive buffers; what finds no room is dropped, as a NIC would.
    void receive(std::span<Virtqueue> queues, std::span<const Frame> frames) const;

  private:
    [[nodiscard]] bool put(Virtqueue& queue, const Frame& frame) const;

    MacAddress mac_;
    std::uint64_t driver_features_ = 0;
};

}  // namespace understudy::device
