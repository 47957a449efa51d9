#include "guest/pv/instruction.hpp"

namespace understudy::pv {
namespace {

constexpr u8 kRexX = 2;

bool in_set(const u32 (&set)[8], u8 code) {
    return (set[code >> 5] >> (code & 31) & 1) != 0;
}

// Which opcodes have a ModRM byte, a bit each; SDM volume 2, appendix A. Left out: what ring 3 has no use for, and what
// names memory in ways that this decoder does not follow.
constexpr u32 kOneByteModrm[8] = {0x0f0f0f0f, 0x0f0f0f0f, 0x00000000, 0x00000a08,
                                  0x0000fffb, 0x00000000, 0xff0f00c3, 0xc0c00000};

Instruction decode_prefixes(const u8* at) {
    Instruction result;
    constexpr unsigned kMostPrefixes = 14;
    unsigned prefixes = 0;
    for (bool prefix = true; prefix && prefixes < kMostPrefixes; at += prefix ? 1 : 0, ++prefixes) {
        if ((*at & 0xf0) == 0x40) {
            result.rex = *at & 0xf;
            continue;
        }
        const u8 rex = result.rex;
        result.rex = 0;  // it counts right before the opcode alone
        switch (*at) {
            case 0x66:
                result.operand_16 = true;
                break;
            case 0x67:
                result.address_32 = true;
                break;
            case 0x64:
            case 0x65:
                result.segment = *at;
                break;
            case 0x26:
            case 0x2e:
            case 0x36:
            case 0x3e:
            case 0xf0:
                break;
            case 0xf2:
            case 0xf3:
                result.repeat = *at;
                break;
            default:
                result.rex = rex;
                prefix = false;
                break;
        }
    }
    result.behind_modrm = at;
    return result;
}

// `at` stands at the prefix. False: it names memory in ways that this decoder does not follow.
bool decode_vex(Instruction& result, const u8*& at) {
    result.vex = true;
    const bool three = *at++ == 0xc4;
    result.rex = static_cast<u8>((at[0] & 0x80) == 0 ? 4 : 0);
    u8 map = 1;
    if (three) {
        result.rex |= static_cast<u8>((~at[0] >> 5) & 3);
        map = at[0] & 0x1f;
        result.rex |= static_cast<u8>(at[1] >> 4 & 8);
        ++at;
    }
    result.vex_256 = (*at & 4) != 0;
    static constexpr u8 kPrefixes[4] = {0, 0x66, 0xf3, 0xf2};
    const u8 prefix = kPrefixes[*at++ & 3];
    result.operand_16 = prefix == 0x66;
    result.repeat = result.operand_16 ? u8{0} : prefix;
    result.opcode = *at++;
    if (map < 1 || map > 3) {
        return false;
    }
    result.map = static_cast<Map>(map);
    result.has_modrm = true;
    // Gathers name their addresses in a vector register; masked moves touch only what their mask names.
    const bool gathers = result.between(Map::three_byte_38, 0x90, 0x93);
    const bool masked = result.between(Map::three_byte_38, 0x2c, 0x2f) || result.is(Map::three_byte_38, 0x8c) ||
                        result.is(Map::three_byte_38, 0x8e);
    return !gathers && !masked;
}

// The opcode's map and the opcode; `at` stands behind the prefixes, and behind the opcode afterwards.
bool decode_opcode(Instruction& result, const u8*& at) {
    if (*at == 0xc5 || *at == 0xc4) {
        return decode_vex(result, at);
    }
    result.replaced = true;
    switch (*at) {
        case 0xd6:
            break;
        case 0x0e:
            result.opcode = 0xd9;
            break;
        case 0x1e:
            result.opcode = 0xdd;
            break;
        default:
            result.replaced = false;
            break;
    }
    if (result.opcode != 0) {
        ++at;
        result.has_modrm = true;
        return true;
    }
    if (*at != 0x0f && !result.replaced) {
        result.opcode = *at++;
        result.has_modrm = in_set(kOneByteModrm, result.opcode);
        return true;
    }
    ++at;
    if (*at == 0x38 || *at == 0x3a) {
        result.map = *at++ == 0x38 ? Map::three_byte_38 : Map::three_byte_3a;
        result.opcode = *at++;
        result.has_modrm = true;
        return !result.is(Map::three_byte_38, 0xf8);  // MOVDIR64B reads here and writes there
    }
    result.map = Map::two_byte;
    result.opcode = *at++;
    const u8 code = result.opcode;
    // Pushes and pops of FS and GS, CPUID, RDTSC, BSWAP and the like have none.
    result.has_modrm = !((code >= 0x80 && code <= 0x8f) || (code >= 0xc8 && code <= 0xcf) || code == 0xa0 ||
                         code == 0xa1 || code == 0xa8 || code == 0xa9 || code == 0xa2 || code == 0x31 || code == 0x05);
    // Bit strings: a register operand moves the address. (Their immediate forms do not.)
    return code != 0xa3 && code != 0xab && code != 0xb3 && code != 0xbb;
}

u64 displacement_32(const u8* at) {
    return static_cast<u64>(static_cast<s64>(static_cast<s32>(little_endian(at, 4))));
}

// Bytes of immediate operands: a RIP-relative address counts from behind them.
unsigned immediate_bytes(const Instruction& i) {
    const unsigned word = i.narrow() ? 2 : 4;
    switch (i.map) {
        case Map::one_byte:
            if (i.is(Map::one_byte, 0x80) || i.is(Map::one_byte, 0x83) || i.between(Map::one_byte, 0xc0, 0xc1) ||
                i.is(Map::one_byte, 0x6b) || i.is(Map::one_byte, 0xc6) ||
                (i.is(Map::one_byte, 0xf6) && i.extension() < 2)) {
                return 1;
            }
            return i.is(Map::one_byte, 0x81) || i.is(Map::one_byte, 0x69) || i.is(Map::one_byte, 0xc7) ||
                           (i.is(Map::one_byte, 0xf7) && i.extension() < 2)
                       ? word
                       : 0;
        case Map::two_byte:
            return i.opcode == 0xba || i.opcode == 0xa4 || i.opcode == 0xac || i.opcode == 0xc2 || i.opcode == 0xc4 ||
                           i.opcode == 0xc5 || i.opcode == 0xc6 || (i.opcode >= 0x70 && i.opcode <= 0x73)
                       ? 1
                       : 0;
        case Map::three_byte_3a:
            return 1;
        default:
            return 0;
    }
}

}  // namespace

Instruction decode(const u8* code) {
    Instruction result = decode_prefixes(code);
    const u8* at = result.behind_modrm;
    if (*at == 0x62 || !decode_opcode(result, at)) {  // EVEX: its displacements are scaled
        return result;
    }
    if (result.has_modrm) {
        result.modrm = *at++;
    }
    result.behind_modrm = at;
    result.known = true;
    return result;
}

namespace {

// Of the general instructions behind no escape.
unsigned one_byte_operand(const Instruction& i) {
    const u8 code = i.opcode;
    if (code == 0x63) {
        return 4;
    }
    if (code == 0x69 || code == 0x6b) {
        return i.word_bytes();
    }
    const bool arithmetic = code < 0x40 && (code & 7) < 4;
    const bool general = (code >= 0x80 && code <= 0x8b) || code == 0xc0 || code == 0xc1 || code == 0xc6 ||
                         code == 0xc7 || (code >= 0xd0 && code <= 0xd3) || code == 0xf6 || code == 0xf7 ||
                         code == 0xfe || (code == 0xff && i.extension() < 2);
    const bool string = (code >= 0xa0 && code <= 0xa7) || (code >= 0xaa && code <= 0xaf);
    if (arithmetic || general || string) {
        return (code & 1) != 0 ? i.word_bytes() : 1;
    }
    return 0;
}

// Loads and stores of vector registers.
unsigned vector_move(const Instruction& i) {
    const unsigned whole = i.vex_256 ? 32 : 16;
    switch (i.opcode) {
        case 0x10:
        case 0x11:
            return i.repeat == 0xf3 ? 4 : i.repeat == 0xf2 ? 8 : whole;
        case 0x28:
        case 0x29:
        case 0x2b:
            return i.repeat != 0 ? 0 : whole;
        case 0x6f:
        case 0x7f:
        case 0xe7:
            return i.operand_16 || i.repeat == 0xf3 || i.vex ? whole : 8;
        case 0xf0:
            return whole;
        case 0x12:
        case 0x13:
        case 0x16:
        case 0x17:
            return i.repeat != 0 ? 0 : 8;
        case 0x6e:
            return i.wide() ? 8 : 4;
        case 0x7e:
            return i.repeat == 0xf3 || i.wide() ? 8 : 4;
        case 0xd6:
            return i.operand_16 ? 8 : 0;
        default:
            return 0;
    }
}

unsigned two_byte_operand(const Instruction& i) {
    const u8 code = i.opcode;
    if (code >= 0x90 && code <= 0x9f) {
        return 1;
    }
    if (!i.vex && ((code >= 0x40 && code <= 0x4f) || code == 0xaf)) {
        return i.word_bytes();
    }
    switch (i.vex ? 0 : code) {
        case 0xb0:
        case 0xb6:
        case 0xbe:
        case 0xc0:
            return 1;
        case 0xb7:
        case 0xbf:
            return 2;
        case 0xb1:
        case 0xc1:
            return i.word_bytes();
        case 0xc3:
            return i.wide() ? 8 : 4;
        default:
            return vector_move(i);
    }
}

}  // namespace

unsigned memory_bytes(const Instruction& i) {
    return i.map == Map::one_byte && !i.vex ? one_byte_operand(i) : i.map == Map::two_byte ? two_byte_operand(i) : 0;
}

u64& register_of(understudy_frame& frame, unsigned number) {
    switch (number & 15) {
        case 0:
            return frame.rax;
        case 1:
            return frame.rcx;
        case 2:
            return frame.rdx;
        case 3:
            return frame.rbx;
        case 4:
            return frame.rsp;
        case 5:
            return frame.rbp;
        case 6:
            return frame.rsi;
        case 7:
            return frame.rdi;
        case 8:
            return frame.r8;
        case 9:
            return frame.r9;
        case 10:
            return frame.r10;
        case 11:
            return frame.r11;
        case 12:
            return frame.r12;
        case 13:
            return frame.r13;
        case 14:
            return frame.r14;
        default:
            return frame.r15;
    }
}

u64 register_of(const understudy_frame& frame, unsigned number) {
    return register_of(const_cast<understudy_frame&>(frame), number);  // NOLINT: one table, for both
}

u64 little_endian(const u8* at, unsigned bytes) {
    u64 value = 0;
    for (unsigned i = 0; i < bytes; ++i) {
        value |= u64{at[i]} << (8 * i);
    }
    return value;
}

unsigned operand_bytes(const Instruction& i) {
    const unsigned mod = i.modrm >> 6;
    const unsigned rm = i.modrm & 7;
    if (mod == 3) {
        return 0;
    }
    const bool has_sib = rm == 4;
    const bool wide = mod == 2 || (mod == 0 && (rm == 5 || (has_sib && (*i.behind_modrm & 7) == 5)));
    return (has_sib ? 1 : 0) + (wide ? 4 : mod == 1 ? 1 : 0);
}

u64 effective_address(const Instruction& i, const Context& context) {
    const understudy_frame& frame = *context.frame;
    const unsigned mod = i.modrm >> 6;
    const unsigned rm = i.modrm & 7;
    const u8* at = i.behind_modrm;
    u64 address = 0;
    if (rm == 4) {
        const u8 sib = *at++;
        const unsigned index = (sib >> 3 & 7u) | ((i.rex & kRexX) != 0 ? 8u : 0u);
        const unsigned base = sib & 7;
        if (index != 4) {
            address = register_of(frame, index) << (sib >> 6);
        }
        if (base == 5 && mod == 0) {
            address += displacement_32(at);
        } else {
            address += register_of(frame, base | ((i.rex & kRexB) != 0 ? 8u : 0u));
        }
    } else if (rm == 5 && mod == 0) {
        address = reinterpret_cast<u64>(at + 4 + immediate_bytes(i)) + displacement_32(at);
    } else {
        address = register_of(frame, rm | ((i.rex & kRexB) != 0 ? 8u : 0u));
    }
    if (mod == 1) {
        address += static_cast<u64>(static_cast<s64>(static_cast<s8>(*at)));
    } else if (mod == 2) {
        address += displacement_32(at);
    }
    return i.address_32 ? address & 0xffffffff : address;
}

u64 segment_base(const Instruction& i, const Context& context) {
    return i.segment == 0x64 ? context.fs_base : i.segment == 0x65 ? context.gs_base : 0;
}

}  // namespace understudy::pv
