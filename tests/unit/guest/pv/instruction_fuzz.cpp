// Bytes that a program executes are decoded by the layer: whatever they are, no more than an instruction's length is
// read, and what is said of them is bounded.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>

#include "guest/pv/fault_address.hpp"
#include "guest/pv/instruction.hpp"

namespace {

using namespace understudy::pv;

void expect(bool holds) {
    if (!holds) {
        std::abort();
    }
}

// What the decoder may read: an instruction, and where one breaks off, what is behind its page.
constexpr std::size_t kLongest = 15;
constexpr std::size_t kReadAhead = 16;

void look_at(const std::uint8_t* code) {
    understudy_frame frame{};
    frame.rip = reinterpret_cast<u64>(code);
    frame.rsp = frame.rdi = frame.rsi = 0x1000;
    const Context context{&frame, 0x10, 0x20};
    const Instruction instruction = decode(code);
    expect(!instruction.known || instruction.behind_modrm > code);
    expect(!instruction.known || instruction.behind_modrm <= code + kLongest + 4);
    expect(memory_bytes(instruction) <= 32);
    expect(operand_bytes(instruction) <= 5);
    if (instruction.known && instruction.has_modrm && instruction.modrm >> 6 != 3) {
        static_cast<void>(effective_address(instruction, context));
    }
    static_cast<void>(reads_and_writes(code));
    for (const u64 error : {u64{kFaultUser}, kFaultUser | kFaultWrite, kFaultUser | kFaultFetch}) {
        frame.error_code = error;
        // No page is there: any place is one to fault at.
        static_cast<void>(fault_address(context, PageTables(nullptr, 0), 0));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::array<std::uint8_t, kLongest + kReadAhead> code{};
    for (std::size_t at = 0; at < size; at += kLongest) {
        code.fill(0);
        std::copy_n(data + at, std::min(kLongest, size - at), code.begin());
        look_at(code.data());
    }
    return 0;
}
