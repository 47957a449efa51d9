// The console: text that the monitor shows, through a ring of bytes.
#pragma once

#include <cstdint>
#include <string_view>

namespace understudy::kernel::console {

// Queues `text`; when the ring is full the monitor empties it.
void write(std::string_view text);

struct Hex {
    std::uint64_t value;
};
void print(std::string_view text);
void print(std::int64_t value);
void print(Hex value);

template <typename First, typename Second, typename... Rest>
void print(First first, Second second, Rest... rest) {
    print(first);
    print(second, rest...);
}

}  // namespace understudy::kernel::console
