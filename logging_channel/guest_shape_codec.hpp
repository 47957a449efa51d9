// understudy::GuestShape as it stands in log files and on the wire.
#pragma once

#include <optional>

#include "common/guest_shape.hpp"

namespace understudy::wire {
class GuestShape;
}

namespace understudy::channel {

void write_guest_shape(const GuestShape& shape, wire::GuestShape& message);
// Nothing when it describes no guest that there could be.
[[nodiscard]] std::optional<GuestShape> read_guest_shape(const wire::GuestShape& message);

}  // namespace understudy::channel
