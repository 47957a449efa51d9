// The files that are no members of the archive: the console, the null, zero and random devices.
#pragma once

#include <cstdint>
#include <string_view>

#include "guest/kernel/file.hpp"

namespace understudy::kernel {

enum class Device : std::uint8_t { console, null, zero, random };

FileReference<> open_device(Device device, std::uint32_t status_flags);

}  // namespace understudy::kernel
