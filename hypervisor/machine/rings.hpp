// The monitor's side of the guest's rings: frames in, frames and console text out. The guest's indices are checked at
// each use; a ring whose indices make no sense means that the guest broke.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/execution.hpp"
#include "hypervisor/memory/guest_memory.hpp"

namespace understudy::machine {

using memory::GuestAddress;
using memory::GuestMemory;

// How many frames the guest can take now.
[[nodiscard]] std::size_t receive_capacity(GuestMemory& memory);

// Puts as many of `frames` as there is room for into the receive ring; the rest is dropped, as a full NIC would.
void push_frames(GuestMemory& memory, std::span<const Frame> frames);

// Empties the transmit and console rings. Nothing when the guest corrupted them.
[[nodiscard]] std::optional<std::vector<Output>> take_outputs(GuestMemory& memory);

}  // namespace understudy::machine
