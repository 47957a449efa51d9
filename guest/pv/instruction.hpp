// Decodes as much of an instruction as tells where its memory operand is.
//
// Pure, as fault_address.hpp is.
#pragma once

#include "guest/pv/types.hpp"

namespace understudy::pv {

// Whose instruction, with the segment bases that memory operands may count from.
struct Context {
    const understudy_frame* frame = nullptr;
    u64 fs_base = 0;
    u64 gs_base = 0;
};

enum class Map : u8 { one_byte, two_byte, three_byte_38, three_byte_3a };

// An instruction, as far as its memory operands are concerned.
struct Instruction {
    bool known = false;     // false: left to CR2
    bool replaced = false;  // by the kernel, in a program; what is told here is what stood there (docs/guest-abi.md)
    Map map = Map::one_byte;
    u8 opcode = 0;
    u8 modrm = 0;
    bool has_modrm = false;
    bool operand_16 = false;
    bool address_32 = false;
    u8 rex = 0;      // W, R, X, B in the low bits; of VEX too
    u8 segment = 0;  // 0x64, 0x65 or none
    u8 repeat = 0;   // 0xf2, 0xf3 or none; of VEX too
    bool vex = false;
    bool vex_256 = false;
    const u8* behind_modrm = nullptr;

    [[nodiscard]] bool is(Map in, u8 code) const { return map == in && opcode == code; }
    [[nodiscard]] bool between(Map in, u8 first, u8 last) const {
        return map == in && opcode >= first && opcode <= last;
    }
    [[nodiscard]] u8 extension() const { return modrm >> 3 & 7; }
    [[nodiscard]] bool wide() const { return (rex & 8) != 0; }
    [[nodiscard]] bool narrow() const { return operand_16 && !wide(); }
    // Bytes of a general operand of more than one.
    [[nodiscard]] unsigned word_bytes() const { return wide() ? 8 : operand_16 ? 2 : 4; }
};

constexpr u8 kRexB = 1;

[[nodiscard]] Instruction decode(const u8* code);
// How many bytes of memory the operand is; 0: not one that this decoder knows. Of the frequent ones it does.
[[nodiscard]] unsigned memory_bytes(const Instruction& i);
// How many bytes the memory operand's name takes up behind ModRM.
[[nodiscard]] unsigned operand_bytes(const Instruction& i);
// The operand that ModRM names, without its segment's base, and that base.
[[nodiscard]] u64 effective_address(const Instruction& i, const Context& context);
[[nodiscard]] u64 segment_base(const Instruction& i, const Context& context);
[[nodiscard]] u64 little_endian(const u8* at, unsigned bytes);
// A general register of the frame, by its number.
[[nodiscard]] u64& register_of(understudy_frame& frame, unsigned number);
[[nodiscard]] u64 register_of(const understudy_frame& frame, unsigned number);

}  // namespace understudy::pv
