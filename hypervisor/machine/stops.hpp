// What an exit means: a pure function from the port and value of an OUT to the stop it is.
#pragma once

#include <optional>

#include "common/execution.hpp"
#include "hypervisor/engine/engine.hpp"

namespace understudy::machine {

struct StopMeaning {
    StopKind kind;
    RequestKind request = RequestKind::none;
    bool operator==(const StopMeaning&) const = default;
};

// Nothing for a port that no guest has business with.
[[nodiscard]] std::optional<StopMeaning> meaning_of(std::uint8_t port);

// The general register and operand width (16, 32, 64) that a replaced RDRAND, RDSEED or RDPID writes.
struct Destination {
    std::uint8_t register_number;
    unsigned width;
    bool operator==(const Destination&) const = default;
};
[[nodiscard]] std::optional<Destination> destination_of(std::uint8_t port);

// Writes `value` as an instruction of that width does: 16 bits keep the rest, 32 clear the upper half.
void write_register(engine::Registers& registers, Destination destination, std::uint64_t value);

// "page fault" for 14.
[[nodiscard]] const char* exception_name(std::uint64_t vector);

}  // namespace understudy::machine
