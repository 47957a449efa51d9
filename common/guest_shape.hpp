// What every host of a guest has to have before the guest's state can arrive there.
#pragma once

#include <cstdint>
#include <string>

#include "common/units.hpp"

namespace understudy {

// Whose machine it is. The values stand in log files and on the wire: never renumber.
enum class GuestKind : std::uint8_t {
    small = 0,        // guest/kernel
    linux_guest = 1,  // guest/linux
};
constexpr GuestKind kLastGuestKind = GuestKind::linux_guest;

struct GuestShape {
    GuestKind kind = GuestKind::small;
    Bytes memory;              // all of it, the monitor's part too
    std::string image_digest;  // of the disk image, as FileDigest::text() gives it; empty: no image

    bool operator==(const GuestShape&) const = default;
};
// A longer digest is none.
constexpr std::size_t kMaxImageDigest = 64;

}  // namespace understudy
