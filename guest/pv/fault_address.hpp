// Which address a page fault was about. The processor says so in CR2, which ring 3 cannot read, and asking the monitor
// costs an exit; so the instruction is decoded. What the decoder is not sure of it leaves to CR2.
//
// Pure: sees registers, instruction bytes and page tables through what it is given, so that a test on the host can
// compare it with the processor (tests/unit/guest/pv).
#pragma once

#include "guest/pv/instruction.hpp"
#include "guest/pv/page_tables.hpp"
#include "guest/pv/types.hpp"

namespace understudy::pv {

// Bits of a page fault's error code (SDM volume 3, 4.7).
enum FaultBits : u64 {
    kFaultProtection = 1,  // else: not present
    kFaultWrite = 2,
    kFaultUser = 4,
    kFaultReserved = 8,
    kFaultFetch = 16,
};

struct FaultAddress {
    bool known = false;
    u64 address = 0;
};

// The page tables at `root` are those that the instruction ran with. Unless it was not even fetched it can be read.
[[nodiscard]] FaultAddress fault_address(const Context& context, const PageTables& tables, u64 root);

// Would an access of this kind at this address fault, by the tables?
[[nodiscard]] bool justified(const PageTables& tables, u64 root, u64 address, u64 error_code);

// How many bytes from `rip` on can be read, at most as many as an instruction has. Not all that traps was fetched
// whole: an opcode that is invalid is so before the rest of it is looked for, and a return may name no place to run at
// all.
constexpr u64 kLongestInstruction = 15;
[[nodiscard]] u64 readable_code(const PageTables& tables, u64 root, u64 rip);

// Does the instruction read and write its memory operand? Some engines report its fault as that of the read; it is
// reported as that of a write everywhere.
[[nodiscard]] bool reads_and_writes(const u8* instruction);

}  // namespace understudy::pv
