#include "hypervisor/device/device_bus.hpp"

#include <linux/virtio_config.h>
#define VIRTIO_RING_NO_LEGACY  // NOLINT: what is left out is not C++
#include <linux/virtio_ring.h>

#include <algorithm>
#include <span>

#include "common/require.hpp"

namespace understudy::device {
namespace {

constexpr std::uint64_t bit(unsigned feature) {
    return std::uint64_t{1} << feature;
}

}  // namespace

DeviceBus::DeviceBus(GuestMemory& memory, std::function<understudy_device&(std::size_t)> page)
    : memory_(memory), page_(std::move(page)) {}

std::size_t DeviceBus::add(std::unique_ptr<Device> device) {
    const auto sizes = device->queue_sizes();
    require(slots_.size() < UNDERSTUDY_DEVICES && sizes.size() <= UNDERSTUDY_QUEUES, "a device finds room on the bus");
    Slot slot;
    slot.device = std::move(device);
    slot.queues = std::vector<Virtqueue>(sizes.size(), Virtqueue(memory_));
    slots_.push_back(std::move(slot));
    return slots_.size() - 1;
}

std::uint64_t DeviceBus::offered(const Device& device) {
    return device.features() | bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_RING_F_EVENT_IDX) |
           bit(VIRTIO_RING_F_INDIRECT_DESC);
}

void DeviceBus::boot() {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
        reset(slots_[i]);
        const Device& device = *slots_[i].device;
        understudy_device& page = page_(i);
        page = {};
        page.device_id = device.id();
        page.device_features = offered(device);
        const auto sizes = device.queue_sizes();
        page.queues = static_cast<std::uint32_t>(sizes.size());
        for (std::size_t q = 0; q < sizes.size(); ++q) {
            page.queue[q].size_max = sizes[q];
        }
        const auto config = device.config();
        require(config.size() <= sizeof page.config, "a device's configuration fits its page");
        std::ranges::copy(std::as_bytes(std::span(config)), std::as_writable_bytes(std::span(page.config)).begin());
    }
}

void DeviceBus::reset(Slot& slot) {
    std::ranges::for_each(slot.queues, &Virtqueue::reset);
    slot.running = false;
    slot.needs_reset = false;
    slot.features = 0;
    slot.device->reset();
}

void DeviceBus::start(Slot& slot, const understudy_device& page) {
    slot.features = page.driver_features & offered(*slot.device);
    slot.running = true;
    slot.device->started(slot.features);
}

void DeviceBus::changed(std::uint32_t number) {
    if (number >= slots_.size()) {
        return;
    }
    Slot& slot = slots_[number];
    understudy_device& page = page_(number);
    if (page.status == 0) {
        reset(slot);
        for (understudy_queue& queue : page.queue) {
            queue.ready = 0;
        }
        return;
    }
    const bool event_index = (page.driver_features & bit(VIRTIO_RING_F_EVENT_IDX)) != 0;
    const auto sizes = slot.device->queue_sizes();
    for (std::size_t q = 0; q < slot.queues.size(); ++q) {
        if (page.queue[q].ready != 0 && !slot.queues[q].ready()) {
            if (page.queue[q].size <= sizes[q]) {
                slot.queues[q].configure(page.queue[q], event_index);
            }
        } else if (page.queue[q].ready == 0) {
            slot.queues[q].reset();
        }
    }
    if ((page.status & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && !slot.running) {
        start(slot, page);
    }
}

void DeviceBus::collect(std::vector<Output>& outputs) {
    for (Slot& slot : slots_) {
        if (slot.running) {
            std::ranges::for_each(slot.queues, &Virtqueue::inspect);
            slot.device->collect(slot.queues, outputs);
        }
    }
}

// A device with a queue that its driver has broken says so, once, until it is reset (virtio 1.2, section 2.1.2). True:
// it just did.
bool DeviceBus::notice_damage(Slot& slot, understudy_device& page) {
    if (!slot.running || slot.needs_reset || std::ranges::none_of(slot.queues, &Virtqueue::broken)) {
        return false;
    }
    slot.needs_reset = true;
    page.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    ++page.config_generation;
    return true;
}

std::span<Virtqueue> DeviceBus::queues(std::size_t number) {
    return slots_[number].running ? std::span(slots_[number].queues) : std::span<Virtqueue>();
}

std::uint64_t DeviceBus::take_events() {
    std::uint64_t events = 0;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
        if (notice_damage(slots_[i], page_(i))) {
            events |= std::uint64_t{1} << i;
        }
        for (Virtqueue& queue : slots_[i].queues) {
            if (queue.wants_event()) {
                events |= std::uint64_t{1} << i;
            }
            queue.watch();
        }
    }
    return events;
}

bool DeviceBus::unfinished() const {
    return std::ranges::any_of(slots_, [](const Slot& slot) { return slot.running && slot.device->unfinished(); });
}

void DeviceBus::save(Encoder& encoder) const {
    encoder.u32(static_cast<std::uint32_t>(slots_.size()));
    for (const Slot& slot : slots_) {
        encoder.u32(slot.device->id()).flag(slot.running).flag(slot.needs_reset).u64(slot.features);
        for (const Virtqueue& queue : slot.queues) {
            queue.save(encoder);
        }
        slot.device->save(encoder);
    }
}

bool DeviceBus::restore(Decoder& decoder) {
    if (decoder.u32() != slots_.size()) {
        return false;
    }
    for (Slot& slot : slots_) {
        if (decoder.u32() != slot.device->id()) {
            return false;
        }
        slot.running = decoder.flag();
        slot.needs_reset = decoder.flag();
        slot.features = decoder.u64();
        if ((slot.features & ~offered(*slot.device)) != 0) {
            return false;
        }
        for (Virtqueue& queue : slot.queues) {
            if (!queue.restore(decoder)) {
                return false;
            }
        }
        slot.device->restore(decoder);
        if (slot.running) {
            slot.device->started(slot.features);
        }
    }
    return decoder.ok();
}

}  // namespace understudy::device
