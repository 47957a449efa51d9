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

// Puts a frame into the next `buffers` buffers, which offer enough.
void fill(Virtqueue& queue, std::uint16_t buffers, std::span<const std::byte> frame) {
    for (; buffers > 0; --buffers) {
        const auto chain = queue.take();
        if (!chain) {
            return;
        }
        const std::size_t written = scatter(*chain, frame);
        frame = frame.subspan(written);
        queue.give_back(chain->head, static_cast<std::uint32_t>(written));
    }
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
    transmit.take_all([&](const Chain& chain) {
        if (is_frame_size(chain.readable_bytes())) {
            outputs.push_back({Output::Kind::frame, gather(chain)});
        }
        return 0U;
    });
}

std::size_t NetDevice::receive_buffers(std::span<Virtqueue> queues) {
    return queues[kReceive].waiting();
}

std::size_t NetDevice::room_for(std::span<Virtqueue> queues, std::span<const Frame> frames) const {
    std::uint16_t used = 0;
    const auto fits = [&](const Frame& frame) {
        const std::uint16_t buffers = buffers_for(queues[kReceive], used, frame.size());
        used = static_cast<std::uint16_t>(used + buffers);
        return buffers != 0;
    };
    std::size_t count = 0;
    for (const Frame& frame : frames) {
        const auto header = network::check_offload(frame);
        const bool all_fit =
            header && !understands(*header) ? std::ranges::all_of(completed(frame), fits) : !header || fits(frame);
        if (!all_fit) {
            break;
        }
        ++count;
    }
    return count;
}

void NetDevice::receive(std::span<Virtqueue> queues, std::span<const Frame> frames) const {
    for (const Frame& frame : frames) {
        const auto header = network::check_offload(frame);
        if (header && understands(*header)) {
            put(queues[kReceive], frame, *header);
        } else if (header) {
            for (const Frame& part : completed(frame)) {
                put(queues[kReceive], part, {});
            }
        }
    }
}

void NetDevice::put(Virtqueue& queue, Frame frame, network::OffloadHeader header) const {
    header.buffers = buffers_for(queue, 0, frame.size());
    if (!has(kGuestChecksum)) {
        header.flags = 0;
    }
    network::write_offload_header(frame, header);
    fill(queue, header.buffers, frame);
}

bool NetDevice::understands(const network::OffloadHeader& header) const {
    return ((header.flags & network::kNeedsChecksum) == 0 || has(kGuestChecksum)) &&
           (header.gso != network::GsoType::tcp_ipv4 || has(kGuestTso4)) &&
           (header.gso != network::GsoType::tcp_ipv6 || has(kGuestTso6));
}

// What a driver hears instead of a frame that it does not understand.
std::vector<Frame> NetDevice::completed(const Frame& frame) {
    std::vector<Frame> parts;
    network::complete_offload(frame, parts, kMaxFrameBytes - kOffloadHeaderBytes);
    for (Frame& part : parts) {
        part = network::with_offload_header(part);
    }
    return parts;
}

// How many buffers, behind `used` others, a frame of so many bytes fills: as many as it needs where the driver merges
// them. 0: what there is does not suffice.
std::uint16_t NetDevice::buffers_for(const Virtqueue& queue, std::uint16_t used, std::size_t bytes) const {
    const std::uint16_t waiting = queue.waiting();
    std::size_t room = 0;
    for (std::uint16_t at = used; at < waiting; ++at) {
        const auto chain = queue.peek(at);
        room += chain ? chain->writable_bytes() : 0;
        if (room >= bytes) {
            return static_cast<std::uint16_t>(at - used + 1);
        }
        if (!chain || !has(kMergeableBuffers)) {
            break;
        }
    }
    return 0;
}

}  // namespace understudy::device
