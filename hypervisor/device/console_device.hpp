// virtio-console (virtio 1.2, section 5.3) with one port, hvc0: text out, and what an operator types in.
#pragma once

#include "hypervisor/device/device.hpp"

namespace understudy::device {

class ConsoleDevice final : public Device {
  public:
    [[nodiscard]] std::uint32_t id() const override;
    [[nodiscard]] std::uint64_t features() const override { return 0; }
    [[nodiscard]] std::vector<std::byte> config() const override;
    [[nodiscard]] std::vector<std::uint32_t> queue_sizes() const override;
    void collect(std::span<Virtqueue> queues, std::vector<Output>& outputs) override;

    // Bytes that receive() has room for.
    [[nodiscard]] static std::size_t room(std::span<Virtqueue> queues);
    static void receive(std::span<Virtqueue> queues, std::span<const std::byte> text);
};

}  // namespace understudy::device
