// Tells code from data in an executable range: which bytes are instructions, and which of those are nondeterministic.
//
// Bytes that lie between instructions (tables in assembly, constants behind a function) can look like any instruction.
// To replace them would corrupt the program in every replica alike, so that no comparison notices; an instruction that
// is missed makes replicas differ, which the next digest shows. So bytes count as code only with a reason:
//
//   1. control flow reaches them from where the image vouches for an instruction: its entry, its function symbols
//      (recursive traversal along direct jumps, calls and what follows them)
//   2. something names their address (a word of a data segment, an entry of a jump table, an operand, an unwind table,
//      a symbol without a type), and from there to the next unconditional transfer they make sense as code
//   3. they lie between code, nothing names them, and make sense from the one neighbour to the other
//
// To make sense: every byte belongs to an instruction that ring-3 code has a use for, no jump leads into the middle of
// known code or to data, and they do not run on into a function's entry. Bytes of an object symbol, bytes outside the
// sections of code and bytes that a known instruction reads or writes are data.
//
// Where nothing is known of the range (code that a program made or loaded itself), its begin is taken as code, and
// sense alone decides: a stretch up to an unconditional transfer is code or not as a whole; behind one that is not, the
// search goes on at the next multiple of 16, where assemblers and compilers put functions.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "guest/abi/abi.hpp"
#include "hypervisor/memory/guest_memory.hpp"

namespace understudy::machine {

using memory::GuestAddress;
using memory::GuestMemory;

// What is known of an executable range from elsewhere. Guest addresses; those outside the range are ignored.
struct CodeHints {
    std::vector<std::uint64_t> functions;  // instructions start here, for certain
    std::vector<std::uint64_t> labels;     // named by something: code or data
    std::vector<abi::Region> data;         // objects
    std::vector<abi::Region> sections;     // where code lies; empty: anywhere

    // Is there no hint at all where code begins?
    [[nodiscard]] bool nothing_known() const { return functions.empty() && labels.empty(); }
};

struct NondeterministicInstruction {
    std::uint64_t address;
    std::uint8_t length;
    std::uint8_t port;  // abi::Port of its stand-in
    auto operator<=>(const NondeterministicInstruction&) const = default;
};

struct FoundCode {
    std::vector<NondeterministicInstruction> nondeterministic;  // ascending
    // What is code, ascending: an instruction starts at each begin, and the next one behind each.
    std::vector<abi::Region> ranges;
};

// `range` lies in memory, or the programmer erred. A function of guest memory and the hints alone; it takes time in
// proportion to the range, whatever the bytes, and ends early once `abandoned` is set.
[[nodiscard]] FoundCode find_code(GuestMemory& memory, abi::Region range, const CodeHints& hints,
                                  const std::atomic<bool>& abandoned);

}  // namespace understudy::machine
