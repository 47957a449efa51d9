#include "hypervisor/machine/rings.hpp"

#include <algorithm>
#include <cstring>

#include "hypervisor/machine/boot_image.hpp"

namespace understudy::machine {
namespace {

static_assert(abi::kMaxFrame == kMaxWireFrameBytes);

abi::FrameSlot& slot(GuestMemory& memory, const abi::Region& ring, std::uint64_t index) {
    const std::uint64_t slots = ring.size / abi::kFrameSlotSize;
    return memory.at<abi::FrameSlot>({ring.base + index % slots * abi::kFrameSlotSize});
}

// How much is in a ring, if its indices make sense.
std::optional<std::uint64_t> filled(const abi::RingIndices& indices, std::uint64_t capacity) {
    const std::uint64_t used = indices.produced - indices.consumed;
    return used <= capacity ? std::optional(used) : std::nullopt;
}

bool take_frames(GuestMemory& memory, std::vector<Output>& outputs) {
    const abi::Region ring = monitor_state(memory).transmit_ring;
    abi::RingIndices& indices = control(memory).transmit;
    const auto used = filled(indices, ring.size / abi::kFrameSlotSize);
    if (!used) {
        return false;
    }
    for (std::uint64_t i = 0; i < *used; ++i) {
        const abi::FrameSlot& source = slot(memory, ring, indices.consumed + i);
        if (!is_wire_frame_size(source.length)) {
            return false;
        }
        const auto bytes = std::as_bytes(std::span(source.bytes)).first(source.length);
        outputs.push_back({Output::Kind::frame, {bytes.begin(), bytes.end()}});
    }
    indices.consumed = indices.produced;
    return true;
}

bool take_console(GuestMemory& memory, std::vector<Output>& outputs) {
    const abi::Region ring = monitor_state(memory).console_ring;
    abi::RingIndices& indices = control(memory).console;
    const auto used = filled(indices, ring.size);
    if (!used) {
        return false;
    }
    if (*used == 0) {
        return true;
    }
    Output text{Output::Kind::console, std::vector<std::byte>(*used)};
    const auto source = *memory.range({ring.base}, ring.size);
    for (std::uint64_t i = 0; i < *used; ++i) {
        text.bytes[i] = source[(indices.consumed + i) % ring.size];
    }
    outputs.push_back(std::move(text));
    indices.consumed = indices.produced;
    return true;
}

}  // namespace

std::size_t receive_capacity(GuestMemory& memory) {
    const std::uint64_t slots = monitor_state(memory).receive_ring.size / abi::kFrameSlotSize;
    const auto used = filled(control(memory).receive, slots);
    return used ? slots - *used : 0;
}

void push_frames(GuestMemory& memory, std::span<const Frame> frames) {
    const abi::Region ring = monitor_state(memory).receive_ring;
    const auto room = frames.first(std::min(frames.size(), receive_capacity(memory)));
    for (const Frame& frame : room) {
        if (!is_wire_frame_size(frame.size())) {
            continue;
        }
        abi::FrameSlot& target = slot(memory, ring, control(memory).receive.produced);
        target.length = static_cast<std::uint32_t>(frame.size());
        std::memcpy(target.bytes, frame.data(), frame.size());
        control(memory).receive.produced += 1;
    }
}

std::optional<std::vector<Output>> take_outputs(GuestMemory& memory) {
    std::vector<Output> outputs;
    if (!take_frames(memory, outputs) || !take_console(memory, outputs)) {
        return std::nullopt;
    }
    return outputs;
}

}  // namespace understudy::machine
