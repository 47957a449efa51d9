#include "logging_channel/guest_shape_codec.hpp"

#include "logging_channel/record.pb.h"
#include "logging_channel/state_codec.hpp"

namespace understudy::channel {

void write_guest_shape(const GuestShape& shape, wire::GuestShape& message) {
    message.set_kind(static_cast<std::uint32_t>(shape.kind));
    message.set_memory(shape.memory.value);
    message.set_image_digest(shape.image_digest);
}

std::optional<GuestShape> read_guest_shape(const wire::GuestShape& message) {
    if (message.kind() > static_cast<std::uint32_t>(kLastGuestKind) || message.memory() == 0 ||
        message.memory() > kMaxMemoryBytes || message.memory() % kPageBytes != 0 ||
        message.image_digest().size() > kMaxImageDigest) {
        return std::nullopt;
    }
    return GuestShape{static_cast<GuestKind>(message.kind()), {message.memory()}, message.image_digest()};
}

}  // namespace understudy::channel
