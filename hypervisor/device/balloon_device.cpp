#include "hypervisor/device/balloon_device.hpp"

#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>

#include <algorithm>

namespace understudy::device {
namespace {

// Linux leaves out the queues of features that were not offered: reporting is the third.
constexpr std::size_t kReporting = 2;
constexpr std::uint32_t kSmallQueue = 8;
constexpr std::uint32_t kReportingQueue = 32;  // what Linux reports at once, and wants

}  // namespace

std::uint32_t BalloonDevice::id() const {
    return VIRTIO_ID_BALLOON;
}

std::uint64_t BalloonDevice::features() const {
    return std::uint64_t{1} << VIRTIO_BALLOON_F_REPORTING;
}

// The guest is not asked for any memory.
std::vector<std::byte> BalloonDevice::config() const {
    return std::vector<std::byte>(sizeof(virtio_balloon_config));
}

std::vector<std::uint32_t> BalloonDevice::queue_sizes() const {
    return {kSmallQueue, kSmallQueue, kReportingQueue};
}

// Pages that a driver puts into the balloon unasked stay what they are.
void BalloonDevice::collect(std::span<Virtqueue> queues, std::vector<Output>& /*outputs*/) {
    for (Virtqueue& queue : queues.first(kReporting)) {
        queue.take_all([](const Chain& /*chain*/) { return 0U; });
    }
    report(queues[kReporting]);
}

// Goes on in the first chain where it was at the last stop, as far as this stop allows.
void BalloonDevice::report(Virtqueue& queue) {
    const auto chain = queue.peek();
    if (!chain) {
        done_ = 0;
        return;
    }
    std::uint64_t skip = done_;
    std::uint64_t left = per_stop_;
    for (const auto part : chain->writable) {
        const auto rest = part.subspan(std::min<std::uint64_t>(skip, part.size()));
        skip -= part.size() - rest.size();
        const auto now = rest.first(std::min<std::uint64_t>(left, rest.size()));
        discard(now);
        left -= now.size();
        done_ += now.size();
        if (now.size() < rest.size()) {
            return;
        }
    }
    done_ = 0;
    if (const auto taken = queue.take()) {
        queue.give_back(taken->head, 0);
    }
}

// The whole pages of it.
void BalloonDevice::discard(std::span<const std::byte> bytes) {
    const auto begin = static_cast<std::uint64_t>(bytes.data() - memory_.all().data());
    const std::uint64_t first = (begin + kPageBytes - 1) / kPageBytes * kPageBytes;
    const std::uint64_t end = (begin + bytes.size()) / kPageBytes * kPageBytes;
    if (first < end) {
        memory_.discard({first}, end - first);
    }
}

void BalloonDevice::save(Encoder& encoder) const {
    encoder.u64(done_);
}

void BalloonDevice::restore(Decoder& decoder) {
    done_ = decoder.u64();
}

}  // namespace understudy::device
