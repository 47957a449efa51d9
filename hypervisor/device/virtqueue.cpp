#include "hypervisor/device/virtqueue.hpp"

#define VIRTIO_RING_NO_LEGACY  // NOLINT: what is left out is not C++
#include <linux/virtio_ring.h>

#include <bit>
#include <numeric>

namespace understudy::device {
namespace {

// Of the available and the used ring: flags, index, then the entries, then the other side's event index.
constexpr std::uint64_t kIndexOffset = 2;
constexpr std::uint64_t kRingOffset = 4;
constexpr std::uint64_t kUsedEntryBytes = 8;

template <typename Spans>
std::size_t total(const Spans& spans) {
    return std::accumulate(spans.begin(), spans.end(), std::size_t{0},
                           [](std::size_t sum, const auto& span) { return sum + span.size(); });
}

}  // namespace

std::size_t Chain::readable_bytes() const {
    return total(readable);
}
std::size_t Chain::writable_bytes() const {
    return total(writable);
}

bool Virtqueue::configure(const understudy_queue& queue, bool event_index) {
    reset();
    if (queue.ready != 1 || queue.size == 0 || queue.size > kMaxSize || !std::has_single_bit(queue.size)) {
        return false;
    }
    size_ = queue.size;
    descriptors_ = queue.descriptors;
    available_ = queue.available;
    used_ = queue.used;
    event_index_ = event_index;
    if (!lies_in_memory()) {
        reset();
        return false;
    }
    return true;
}

bool Virtqueue::lies_in_memory() const {
    const std::uint64_t available_bytes = kRingOffset + 2 * std::uint64_t{size_} + 2;
    const std::uint64_t used_bytes = kRingOffset + kUsedEntryBytes * size_ + 2;
    return memory_.range({descriptors_}, sizeof(Descriptor) * size_) && memory_.range({available_}, available_bytes) &&
           memory_.range({used_}, used_bytes);
}

void Virtqueue::reset() {
    size_ = 0;
    next_available_ = next_used_ = told_used_ = 0;
    broken_ = false;
}

std::uint16_t Virtqueue::read16(std::uint64_t address) const {
    return memory_.read<std::uint16_t>({address}).value_or(0);
}

void Virtqueue::write16(std::uint64_t address, std::uint16_t value) {
    if (const auto bytes = memory_.range({address}, sizeof value)) {
        memory_.wrote(*bytes);
        write_little_endian(bytes->data(), value);
    }
}

// How far the driver's index is ahead.
std::uint16_t Virtqueue::moved() const {
    return static_cast<std::uint16_t>(read16(available_ + kIndexOffset) - next_available_);
}

std::uint16_t Virtqueue::waiting() const {
    if (!ready() || broken_) {
        return 0;
    }
    const std::uint16_t count = moved();
    return count <= size_ ? count : std::uint16_t{0};
}

void Virtqueue::inspect() {
    if (ready() && !broken_) {
        broken_ = moved() > size_ || (waiting() > 0 && !peek());
    }
}

std::optional<Chain> Virtqueue::peek(std::uint16_t ahead) const {
    if (waiting() <= ahead) {
        return std::nullopt;
    }
    const auto at = static_cast<std::uint16_t>(next_available_ + ahead);
    return chain_at(read16(available_ + kRingOffset + 2 * std::uint64_t{at % size_}));
}

std::optional<Chain> Virtqueue::take() {
    if (waiting() == 0) {
        return std::nullopt;
    }
    auto chain = peek();
    if (!chain) {
        broken_ = true;
        return std::nullopt;
    }
    for (const auto part : chain->writable) {
        memory_.wrote(part);
    }
    ++next_available_;
    return chain;
}

std::optional<Chain> Virtqueue::chain_at(std::uint16_t head) const {
    if (head >= size_) {
        return std::nullopt;
    }
    Chain chain;
    chain.head = head;
    if (!add_descriptors(chain, descriptors_, size_, head, true)) {
        return std::nullopt;
    }
    return chain;
}

// Follows a chain through one table. Its length is bounded, so that a chain which bites its tail ends.
bool Virtqueue::add_descriptors(Chain& chain, std::uint64_t table, std::uint32_t entries, std::uint16_t first,
                                bool indirect_allowed) const {
    std::uint32_t at = first;
    for (;;) {
        if (at >= entries || chain.readable.size() + chain.writable.size() >= kMaxChain) {
            return false;
        }
        const auto descriptor = memory_.read<Descriptor>({table + at * sizeof(Descriptor)});
        if (!descriptor) {
            return false;
        }
        if ((descriptor->flags & VRING_DESC_F_INDIRECT) != 0) {
            const std::uint32_t inner = descriptor->length / std::uint32_t{sizeof(Descriptor)};
            return indirect_allowed && (descriptor->flags & VRING_DESC_F_NEXT) == 0 && inner > 0 &&
                   inner <= kMaxChain && descriptor->length % sizeof(Descriptor) == 0 &&
                   memory_.range({descriptor->address}, descriptor->length) &&
                   add_descriptors(chain, descriptor->address, inner, 0, false);
        }
        const auto bytes = memory_.range({descriptor->address}, descriptor->length);
        if (!bytes) {
            return false;
        }
        if ((descriptor->flags & VRING_DESC_F_WRITE) != 0) {
            chain.writable.push_back(*bytes);
        } else if (chain.writable.empty()) {
            chain.readable.push_back(*bytes);
        } else {
            return false;  // what the device reads comes first
        }
        if ((descriptor->flags & VRING_DESC_F_NEXT) == 0) {
            return true;
        }
        at = descriptor->next;
    }
}

void Virtqueue::give_back(std::uint16_t head, std::uint32_t written) {
    const std::uint64_t entry = used_ + kRingOffset + kUsedEntryBytes * (next_used_ % size_);
    if (const auto bytes = memory_.range({entry}, kUsedEntryBytes)) {
        memory_.wrote(*bytes);
        write_little_endian(bytes->data(), std::uint32_t{head});
        write_little_endian(bytes->data() + sizeof(std::uint32_t), written);
    }
    ++next_used_;
    write16(used_ + kIndexOffset, next_used_);
}

bool Virtqueue::wants_event() {
    const std::uint16_t before = told_used_;
    told_used_ = next_used_;
    if (!ready() || before == next_used_) {
        return false;
    }
    if (!event_index_) {
        return (read16(available_) & VRING_AVAIL_F_NO_INTERRUPT) == 0;
    }
    const std::uint16_t wanted = read16(available_ + kRingOffset + 2 * std::uint64_t{size_});
    // vring_need_event() of the specification: did the index move past the wanted one?
    return static_cast<std::uint16_t>(next_used_ - wanted - 1) < static_cast<std::uint16_t>(next_used_ - before);
}

void Virtqueue::watch() {
    if (ready() && event_index_ && !broken_) {
        write16(used_ + kRingOffset + kUsedEntryBytes * size_, next_available_);
    }
}

void Virtqueue::save(Encoder& encoder) const {
    encoder.u32(size_).u64(descriptors_).u64(available_).u64(used_).flag(event_index_);
    encoder.u16(next_available_).u16(next_used_).u16(told_used_).flag(broken_);
}

bool Virtqueue::restore(Decoder& decoder) {
    size_ = decoder.u32();
    descriptors_ = decoder.u64();
    available_ = decoder.u64();
    used_ = decoder.u64();
    event_index_ = decoder.flag();
    next_available_ = decoder.u16();
    next_used_ = decoder.u16();
    told_used_ = decoder.u16();
    broken_ = decoder.flag();
    const bool size_fits = size_ == 0 || (size_ <= kMaxSize && std::has_single_bit(size_) && lies_in_memory());
    if (!decoder.ok() || !size_fits) {
        reset();
        return false;
    }
    return true;
}

}  // namespace understudy::device
