// What is on its way out of this process.
#pragma once

#include <cstdint>

namespace understudy {

// Counted from the beginning, by whoever holds it and in units of its own: what it was given, and what of that it does
// not hold any more, for it is outside or was dropped.
struct Passage {
    std::uint64_t given = 0;
    std::uint64_t gone = 0;

    bool operator==(const Passage&) const = default;
};

}  // namespace understudy
