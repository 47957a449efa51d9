// virtio-balloon (virtio 1.2, section 5.5), of which only free page reporting is of use: the driver names memory that
// the guest has no use for, and it is discarded. It is zero from then on, in every replica from the same stop on; a
// backup that joins is not sent it, and the host has it for others.
#pragma once

#include "hypervisor/device/device.hpp"

namespace understudy::device {

class BalloonDevice final : public Device {
  public:
    // At one stop so much is discarded at the most: the guest waits for it. No report of Linux's is larger (32 blocks
    // of 4 MiB): until it has an answer its kernel does without the pages in it, and may come to lack them.
    static constexpr std::uint64_t kPerStop = std::uint64_t{128} << 20U;

    explicit BalloonDevice(GuestMemory& memory, std::uint64_t per_stop = kPerStop)
        : memory_(memory), per_stop_(per_stop) {}

    [[nodiscard]] std::uint32_t id() const override;
    [[nodiscard]] std::uint64_t features() const override;
    [[nodiscard]] std::vector<std::byte> config() const override;
    [[nodiscard]] std::vector<std::uint32_t> queue_sizes() const override;
    void collect(std::span<Virtqueue> queues, std::vector<Output>& outputs) override;
    [[nodiscard]] bool unfinished() const override { return done_ != 0; }
    void reset() override { done_ = 0; }
    void save(Encoder& encoder) const override;
    void restore(Decoder& decoder) override;

  private:
    void report(Virtqueue& queue);
    void discard(std::span<const std::byte> bytes);

    GuestMemory& memory_;
    const std::uint64_t per_stop_;
    std::uint64_t done_ = 0;  // bytes of the chain that comes next; the rest of it is for stops to come
};

}  // namespace understudy::device
