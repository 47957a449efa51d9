#include "hypervisor/device/entropy_device.hpp"

#include <linux/virtio_ids.h>

#include <algorithm>
#include <cstring>

namespace understudy::device {
namespace {

constexpr std::uint32_t kQueueSize = 8;

}  // namespace

std::uint32_t EntropyDevice::id() const {
    return VIRTIO_ID_RNG;
}

std::vector<std::uint32_t> EntropyDevice::queue_sizes() const {
    return {kQueueSize};
}

std::size_t EntropyDevice::wanted(std::span<Virtqueue> queues) {
    const auto chain = queues[0].peek();
    return chain ? std::min(chain->writable_bytes(), kMaxEntropy) : 0;
}

void EntropyDevice::receive(std::span<Virtqueue> queues, std::span<const std::byte> bytes) {
    if (bytes.empty()) {
        return;
    }
    const auto chain = queues[0].take();
    if (!chain) {
        return;
    }
    std::size_t written = 0;
    for (const auto part : chain->writable) {
        const std::size_t size = std::min(part.size(), bytes.size() - written);
        std::memcpy(part.data(), bytes.data() + written, size);
        written += size;
    }
    queues[0].give_back(chain->head, static_cast<std::uint32_t>(written));
}

}  // namespace understudy::device
