// virtio-rng (virtio 1.2, section 5.4): random bytes, which the primary's host gives and the log carries.
#pragma once

#include "hypervisor/device/device.hpp"

namespace understudy::device {

class EntropyDevice final : public Device {
  public:
    [[nodiscard]] std::uint32_t id() const override;
    [[nodiscard]] std::uint64_t features() const override { return 0; }
    [[nodiscard]] std::vector<std::byte> config() const override { return {}; }
    [[nodiscard]] std::vector<std::uint32_t> queue_sizes() const override;
    void collect(std::span<Virtqueue> /*queues*/, std::vector<Output>& /*outputs*/) override {}

    // What the driver asks for at this stop, at most kMaxEntropy.
    [[nodiscard]] static std::size_t wanted(std::span<Virtqueue> queues);
    static void receive(std::span<Virtqueue> queues, std::span<const std::byte> bytes);
};

}  // namespace understudy::device
