// virtio-net (virtio 1.2, section 5.1): one pair of queues, checksum and segmentation offload both ways, mergeable
// receive buffers. A frame here carries the device's header in front (hypervisor/network/offload.hpp). What comes out
// was written by the guest and is checked by the link that sends it.
#pragma once

#include "common/ethernet.hpp"
#include "hypervisor/device/device.hpp"
#include "hypervisor/network/offload.hpp"

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
    // How many of `frames`, from the first on, receive() will find room for. Changes nothing, so that it need not be
    // asked where a log says what arrived.
    [[nodiscard]] std::size_t room_for(std::span<Virtqueue> queues, std::span<const Frame> frames) const;
    // Puts `frames` into receive buffers; what finds no room is dropped, as a NIC would. What a frame asks for that the
    // driver cannot do is done here.
    void receive(std::span<Virtqueue> queues, std::span<const Frame> frames) const;

  private:
    [[nodiscard]] bool has(std::uint64_t feature) const { return (driver_features_ & feature) != 0; }
    [[nodiscard]] bool understands(const network::OffloadHeader& header) const;
    [[nodiscard]] static std::vector<Frame> completed(const Frame& frame);
    [[nodiscard]] std::uint16_t buffers_for(const Virtqueue& queue, std::uint16_t used, std::size_t bytes) const;
    void put(Virtqueue& queue, Frame frame, network::OffloadHeader header) const;

    MacAddress mac_;
    std::uint64_t driver_features_ = 0;
};

}  // namespace understudy::device
