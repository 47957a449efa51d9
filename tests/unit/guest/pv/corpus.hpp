// Instructions with memory operands, generated: opcodes one after the other, everything else by chance.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "tests/unit/guest/pv/processor.hpp"

namespace understudy::pv {

// One instruction as Zydis knows it.
struct Decoded {
    ZydisDecodedInstruction instruction{};
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands{};

    [[nodiscard]] std::span<const ZydisDecodedOperand> all() const {
        return std::span(operands).first(instruction.operand_count);
    }
    [[nodiscard]] std::string name() const { return ZydisMnemonicGetString(instruction.mnemonic); }
};
[[nodiscard]] std::optional<Decoded> decode_by_zydis(std::span<const u8> code);

struct Case {
    std::vector<u8> code;
    understudy_frame frame{};  // with every register that matters; RIP is the arena's code
    Decoded decoded;
};

class Corpus {
  public:
    Corpus(const Arena& arena, u64 seed) : arena_(arena), random_(seed) {}

    // An instruction with this opcode, whose memory operands lie in the arena. Nothing when chance has made none, or
    // one that would lead out of the test: it takes control elsewhere, or segments.
    [[nodiscard]] std::optional<Case> make(u8 map, u8 opcode);

    static constexpr u8 kMaps = 7;  // one byte; 0F; 0F 38; 0F 3A; VEX of the last three
    static constexpr u64 kGsBase = 0x12340;

  private:
    [[nodiscard]] u64 below(u64 limit) { return random_() % limit; }
    [[nodiscard]] bool one_in(u64 n) { return below(n) == 0; }
    [[nodiscard]] std::vector<u8> bytes(u8 map, u8 opcode);
    [[nodiscard]] u64 place();
    void choose_registers(Case& made, const Decoded& decoded);
    [[nodiscard]] bool lies_in_arena(const Case& made) const;

    const Arena& arena_;
    std::mt19937_64 random_;
};

}  // namespace understudy::pv
