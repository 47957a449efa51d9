#include "hypervisor/machine/machine.hpp"

#include <fmt/format.h>

#include <array>

#include "common/error.hpp"

namespace understudy::machine {

std::string FaultReport::text() const {
    static constexpr std::array kNames = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    if (!has_state) {
        return fmt::format("guest fault: {}\n{}", reason, last_words);
    }
    std::string text =
        fmt::format("guest fault: {} (vector {}, error code {:#x}, address {:#x})\n  rip {:#018x}  {}\n  code ", reason,
                    vector, error_code, address, registers.rip, symbol.value_or("(no symbol)"));
    for (const std::byte byte : instruction_bytes) {
        text += fmt::format("{:02x} ", std::to_integer<unsigned>(byte));
    }
    for (std::size_t i = 0; i < kNames.size(); ++i) {
        text += fmt::format("{}{:3} {:#018x}", i % 4 == 0 ? "\n  " : "  ", kNames[i], registers.general[i]);
    }
    text += fmt::format("\n  rflags {:#x}\n", registers.rflags);
    return last_words.empty() ? text : text + last_words + "\n";
}

void Machine::take_written(WrittenPages& /*written*/) {
    throw Error("this kind of guest does not tell what it writes: only a Linux guest can be checkpointed");
}

}  // namespace understudy::machine
