#include "hypervisor/device/net_device.hpp"

#include <linux/virtio_ids.h>

#include <algorithm>
#include <cstring>

namespace understudy::device {
namespace {

constexpr std::size_t kReceive = 0;
constexpr std::size_t kTransmit = 1;
constexpr std::uint32_t kQueueSize = 256;

// Feature bits and layouts of virtio 1.2, 5.1.3 to 5.1.6. (linux/virtio_net.h has them, too, but is no C++.)
constexpr std::uint64_t kChecksum = std::uint64_t{1} << 0;
constexpr std::uint64_t kGuestChecksum = std::uint64_t{1} << 1;
constexpr std::uint64_t kMac = std::uint64_t{1} << 5;
constexpr std::uint64_t kGuestTso4 = std::uint64_t{1} << 7;
constexpr std::uint64_t kGuestTso6 = std::uint64_t{1} << 8;
constexpr std::uint64_t kHostTso4 = std::uint64_t{1} << 11;
constexpr std::uint64_t kHostTso6 = std::uint64_t{1} << 12;
constexpr std::uint64_t kMergeableBuffers = std::uint64_t{1} << 15;
constexpr std::uint64_t kStatus = std::uint64_t{1} << 16;

struct NetConfig {
    MacAddress mac;
    std::uint8_t status[2];  // bit 0: the link is up
};
constexpr std::size_t kBufferCountOffset = 10;

// The driver's bytes as one run.
std::vector<std::byte> gather(const Chain& chain) {
    std::vector<std::byte> bytes;
    bytes.reserve(chain.readable_bytes());
    for (const auto part : chain.readable) {
        bytes.insert(bytes.end(), part.begin(), part.end());
    }
    return bytes;
}

// Fills what a chain offers from the front of `bytes`, and says how much that was.
std::size_t scatter(const Chain& chain, std::span<const std::byte> bytes) {
    std::size_t done = 0;
    for (const auto part : chain.writable) {
        const std::size_t size = std::min(part.size(), bytes.size() - done);
        std::memcpy(part.data(), bytes.data() + done, size);
        done += size;
    }
    return done;
}

}  // namespace

std::uint32_t NetDevice::id() const {
    return VIRTIO_ID_NET;
}

std::uint64_t NetDevice::features() const {
    return kChecksum | kGuestChecksum | kMac | kGuestTso4 | kGuestTso6 | kHostTso4 | kHostTso6 | kMergeableBuffers |
           kStatus;
}

std::vector<std::byte> NetDevice::config() const {
    const NetConfig config{mac_, {1, 0}};
    const auto bytes = std::as_bytes(std::span(&config, 1));
    return {bytes.begin(), bytes.end()};
}

std::vector<std::uint32_t> NetDevice::queue_sizes() const {
    return {kQueueSize, kQueueSize};
}

void NetDevice::collect(std::span<Virtqueue> queues, std::vector<Output>& outputs) {
    Virtqueue& transmit = queues[kTransmit];
    while (const auto chain = transmit.take()) {
        if (is_frame_size(chain->readable_bytes())) {
            outputs.push_back({Output::Kind::frame, gather(*chain)});
        }
        transmit.give_back(chain->head, 0);
    }
}

std::size_t NetDevice::receive_buffers(std::span<Virtqueue> queues) {
    return queues[kReceive].waiting();
}

void NetDevice::receive(std::span<Virtqueue> queues, std::span<const Frame> frames) const {
    for (const Frame& frame : frames) {
        if (!is_frame_size(frame.size()) || !put(queues[kReceive], frame)) {
            continue;
        }
    }
}

// A frame goes into as many buffers as it needs where the driver merges them; the header of the first says how many.
bool NetDevice::put(Virtqueue& queue, const Frame& frame) const {
    const bool merges = (driver_features_ & kMergeableBuffers) != 0;
    std::vector<Chain> chains;
    std::size_t room = 0;
    while (room < frame.size()) {
        auto chain = queue.take();
        if (!chain || (!merges && !chains.empty())) {
            break;
        }
        room += chain->writable_bytes();
        chains.push_back(std::move(*chain));
    }
    const bool fits = room >= frame.size();
    Frame bytes = frame;
    write_little_endian(bytes.data() + kBufferCountOffset, static_cast<std::uint16_t>(chains.size()));
    std::span<const std::byte> rest = bytes;
    for (const Chain& chain : chains) {
        // Buffers that do not suffice go back empty: the driver drops what it finds there.
        const std::size_t written = fits ? scatter(chain, rest) : 0;
        rest = rest.subspan(written);
        queue.give_back(chain.head, static_cast<std::uint32_t>(written));
    }
    return fits;
}

}  // namespace understudy::device
