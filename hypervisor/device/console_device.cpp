#include "hypervisor/device/console_device.hpp"

#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>

#include <algorithm>
#include <cstring>

namespace understudy::device {
namespace {

constexpr std::size_t kReceive = 0;
constexpr std::size_t kTransmit = 1;
constexpr std::uint32_t kQueueSize = 64;
// Of one buffer. Drivers write a few hundred bytes at a time; what a buffer holds beyond this is dropped.
constexpr std::size_t kMaxText = std::size_t{64} << 10;

}  // namespace

std::uint32_t ConsoleDevice::id() const {
    return VIRTIO_ID_CONSOLE;
}

std::vector<std::byte> ConsoleDevice::config() const {
    return std::vector<std::byte>(sizeof(virtio_console_config));
}

std::vector<std::uint32_t> ConsoleDevice::queue_sizes() const {
    return {kQueueSize, kQueueSize};
}

void ConsoleDevice::collect(std::span<Virtqueue> queues, std::vector<Output>& outputs) {
    Output text{Output::Kind::console, {}};
    queues[kTransmit].take_all([&](const Chain& chain) {
        std::size_t room = kMaxText;
        for (const auto part : chain.readable) {
            const auto taken = part.first(std::min(part.size(), room));
            text.bytes.insert(text.bytes.end(), taken.begin(), taken.end());
            room -= taken.size();
        }
        return 0U;
    });
    if (!text.bytes.empty()) {
        outputs.push_back(std::move(text));
    }
}

std::size_t ConsoleDevice::room(std::span<Virtqueue> queues) {
    const auto chain = queues[kReceive].peek();
    return chain ? chain->writable_bytes() : 0;
}

void ConsoleDevice::receive(std::span<Virtqueue> queues, std::span<const std::byte> text) {
    Virtqueue& queue = queues[kReceive];
    for (std::uint16_t left = queue.waiting(); left > 0 && !text.empty(); --left) {
        const auto chain = queue.take();
        if (!chain) {
            return;
        }
        std::size_t written = 0;
        for (const auto part : chain->writable) {
            const std::size_t size = std::min(part.size(), text.size());
            std::memcpy(part.data(), text.data(), size);
            text = text.subspan(size);
            written += size;
        }
        queue.give_back(chain->head, static_cast<std::uint32_t>(written));
    }
}

}  // namespace understudy::device
