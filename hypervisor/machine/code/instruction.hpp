// What the monitor needs to know of one x86-64 instruction.
#pragma once

#include <Zydis/Zydis.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace understudy::machine {

using Instruction = ZydisDecodedInstruction;

// Decodes the instruction at the begin of `code`; nothing where there is none. Thread-safe.
[[nodiscard]] std::optional<Instruction> decode(std::span<const std::byte> code);

// The port (abi::Port) whose OUT stands in for the instruction, if it is one of the nondeterministic ones.
[[nodiscard]] std::optional<std::uint8_t> stand_in(const Instruction& instruction);

// Does it do the same wherever it lies, and pass on to what follows it?
[[nodiscard]] bool position_independent(const Instruction& instruction);

// Does control never pass on to what follows it?
[[nodiscard]] bool ends_flow(const Instruction& instruction);

// Does code of ring 3 have a use for it? Data read as code soon holds one for which it has none: an instruction of the
// kernel's, a far jump, a run of zeros.
[[nodiscard]] bool plausible(const Instruction& instruction);

// Where a direct jump or call at `address` leads.
[[nodiscard]] std::optional<std::uint64_t> branch_target(const Instruction& instruction, std::uint64_t address);

}  // namespace understudy::machine
