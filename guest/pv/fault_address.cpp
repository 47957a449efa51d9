#include "guest/pv/fault_address.hpp"

namespace understudy::pv {
namespace {

// No memory operand of a decoded instruction is longer, but for the state of FXSAVE and its kin.
constexpr u64 kLongestOperand = 64;
constexpr u64 kLongestState = 4096;

enum class Map : u8 { one_byte, two_byte, three_byte_38, three_byte_3a };

// An instruction, as far as its memory operands are concerned.
struct Instruction {
    bool known = false;  // false: left to CR2
    Map map = Map::one_byte;
    u8 opcode = 0;
    u8 modrm = 0;
    bool has_modrm = false;
    bool operand_16 = false;
    bool address_32 = false;
    u8 rex = 0;        // W, R, X, B in the low bits; of VEX too
    u8 segment = 0;    // 0x64, 0x65 or none
    const u8* behind_modrm = nullptr;

    [[nodiscard]] bool is(Map in, u8 code) const { return map == in && opcode == code; }
    [[nodiscard]] bool between(Map in, u8 first, u8 last) const {
        return map == in && opcode >= first && opcode <= last;
    }
    [[nodiscard]] u8 extension() const { return modrm >> 3 & 7; }
    [[nodiscard]] bool wide() const { return (rex & 8) != 0; }
};

constexpr u8 kRexB = 1;
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
    for (bool prefix = true; prefix; at += prefix ? 1 : 0) {
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
            case 0xf2:
            case 0xf3:
                break;
            default:
                prefix = false;
                break;
        }
    }
    result.behind_modrm = at;
    return result;
}

// The opcode's map and the opcode; `at` stands behind the prefixes, and behind the opcode afterwards.
bool decode_opcode(Instruction& result, const u8*& at) {
    if ((*at & 0xf0) == 0x40) {
        result.rex = *at++ & 0xf;
    }
    if (*at == 0xc5 || *at == 0xc4) {  // VEX
        const bool three = *at++ == 0xc4;
        result.rex = static_cast<u8>((at[0] & 0x80) == 0 ? 4 : 0);
        u8 map = 1;
        if (three) {
            result.rex |= static_cast<u8>((~at[0] >> 5) & 3);
            map = at[0] & 0x1f;
            result.rex |= static_cast<u8>(at[1] >> 4 & 8);
            ++at;
        }
        ++at;
        result.opcode = *at++;
        // Gathers name their addresses in a vector register.
        if (map < 1 || map > 3 || (map == 2 && result.opcode >= 0x90 && result.opcode <= 0x93)) {
            return false;
        }
        result.map = static_cast<Map>(map);
        result.has_modrm = true;
        return true;
    }
    if (*at != 0x0f) {
        result.opcode = *at++;
        result.has_modrm = in_set(kOneByteModrm, result.opcode);
        return true;
    }
    ++at;
    if (*at == 0x38 || *at == 0x3a) {
        result.map = *at++ == 0x38 ? Map::three_byte_38 : Map::three_byte_3a;
        result.opcode = *at++;
        result.has_modrm = true;
        return true;
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

u64 register_of(const understudy_frame& frame, unsigned number) {
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

u64 little_endian(const u8* at, unsigned bytes) {
    u64 value = 0;
    for (unsigned i = 0; i < bytes; ++i) {
        value |= u64{at[i]} << (8 * i);
    }
    return value;
}
u64 displacement_32(const u8* at) {
    return static_cast<u64>(static_cast<s64>(static_cast<s32>(little_endian(at, 4))));
}

// Bytes of immediate operands: a RIP-relative address counts from behind them.
unsigned immediate_bytes(const Instruction& i) {
    const unsigned word = i.operand_16 ? 2 : 4;
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

u64 effective_address(const Instruction& i, const Fault& fault) {
    const understudy_frame& frame = *fault.frame;
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

u64 segment_base(const Instruction& i, const Fault& fault) {
    return i.segment == 0x64 ? fault.fs_base : i.segment == 0x65 ? fault.gs_base : 0;
}

// The places that an instruction touches, in the order in which they are looked at.
class Places {
  public:
    void add(u64 address) { places_[count_++] = address; }
    [[nodiscard]] const u64* begin() const { return places_; }
    [[nodiscard]] const u64* end() const { return places_ + count_; }

  private:
    u64 places_[3] = {};
    unsigned count_ = 0;
};

// Instructions whose operands are implied: stack, strings, tables.
bool add_implied(const Instruction& i, const Fault& fault, Places& places) {
    const understudy_frame& frame = *fault.frame;
    const u64 mask = i.address_32 ? 0xffffffff : ~u64{0};
    const u64 source = (frame.rsi & mask) + segment_base(i, fault);
    const u64 destination = frame.rdi & mask;
    if (i.map == Map::two_byte) {
        if (i.opcode == 0xa0 || i.opcode == 0xa8) {
            places.add(frame.rsp - 8);
            return true;
        }
        if (i.opcode == 0xa1 || i.opcode == 0xa9) {
            places.add(frame.rsp);
            return true;
        }
        return false;
    }
    if (i.map != Map::one_byte) {
        return false;
    }
    const u64 below = frame.rsp - (i.operand_16 ? 2 : 8);
    switch (i.opcode) {
        case 0x68:
        case 0x6a:
        case 0x9c:
        case 0xe8:
            places.add(below);
            return true;
        case 0x9d:
        case 0xc2:
        case 0xc3:
            places.add(frame.rsp);
            return true;
        case 0xc9:
            places.add(frame.rbp);
            return true;
        case 0xa4:
        case 0xa5:
            if ((frame.error_code & kFaultWrite) == 0) {
                places.add(source);
            }
            places.add(destination);
            return true;
        case 0xa6:
        case 0xa7:
            places.add(source);
            places.add(destination);
            return true;
        case 0xaa:
        case 0xab:
        case 0xae:
        case 0xaf:
            places.add(destination);
            return true;
        case 0xac:
        case 0xad:
            places.add(source);
            return true;
        case 0xd7:
            places.add(((frame.rbx + (frame.rax & 0xff)) & mask) + segment_base(i, fault));
            return true;
        case 0xa0:
        case 0xa1:
        case 0xa2:
        case 0xa3:
            places.add(little_endian(i.behind_modrm, i.address_32 ? 4 : 8) + segment_base(i, fault));
            return true;
        default:
            break;
    }
    if (i.opcode >= 0x50 && i.opcode <= 0x57) {
        places.add(below);
        return true;
    }
    if (i.opcode >= 0x58 && i.opcode <= 0x5f) {
        places.add(frame.rsp);
        return true;
    }
    return false;
}

// MOV, arithmetic, vectors: whatever names memory by ModRM, and what it does with the stack besides.
bool add_named(const Instruction& i, const Fault& fault, Places& places) {
    if (!i.has_modrm || i.modrm >> 6 == 3) {
        return false;
    }
    if (i.is(Map::two_byte, 0xf7) || i.is(Map::one_byte, 0x8d)) {  // MASKMOVQ names RDI by itself; LEA touches nothing
        return false;
    }
    u64 address = effective_address(i, fault);
    const bool pop = i.is(Map::one_byte, 0x8f) && i.extension() == 0;
    if (pop) {
        places.add(fault.frame->rsp);
        if ((i.modrm & 7) == 4 && (*i.behind_modrm & 7) == 4 && (i.rex & kRexB) == 0) {
            address += i.operand_16 ? 2 : 8;  // its address counts with the stack pointer behind the pop
        }
    }
    places.add(address + segment_base(i, fault));
    const bool calls_or_pushes = i.is(Map::one_byte, 0xff) && (i.extension() == 2 || i.extension() == 6);
    if (calls_or_pushes) {
        places.add(fault.frame->rsp - (i.operand_16 ? 2 : 8));
    }
    return true;
}

// FXSAVE, XSAVE and their like.
bool names_state(const Instruction& i) {
    return i.map == Map::two_byte && (i.opcode == 0xae || i.opcode == 0xc7);
}

FaultAddress first_justified(const Places& places, const PageTables& tables, u64 root, u64 error_code, u64 longest) {
    for (const u64 place : places) {
        if (justified(tables, root, place, error_code)) {
            return {true, place};
        }
    }
    for (const u64 place : places) {
        const u64 next_page = (place | (kPageBytes - 1)) + 1;
        if (next_page - place < longest && justified(tables, root, next_page, error_code)) {
            return {true, next_page};
        }
    }
    return {};
}

}  // namespace

bool justified(const PageTables& tables, u64 root, u64 address, u64 error_code) {
    const Translation now = tables.translate(root, address);
    if (!now.present) {
        return true;
    }
    if ((error_code & kFaultReserved) != 0) {
        return true;
    }
    return ((error_code & kFaultWrite) != 0 && !now.writable) || ((error_code & kFaultFetch) != 0 && !now.executable);
}

FaultAddress fault_address(const Fault& fault, const PageTables& tables, u64 root) {
    const understudy_frame& frame = *fault.frame;
    const u64 error_code = frame.error_code;
    Places places;
    if ((error_code & kFaultFetch) != 0) {
        places.add(frame.rip);
        constexpr u64 kLongestInstruction = 15;
        return first_justified(places, tables, root, error_code, kLongestInstruction);
    }
    const Instruction i = decode(reinterpret_cast<const u8*>(frame.rip));
    if (!i.known || (!add_implied(i, fault, places) && !add_named(i, fault, places))) {
        return {};
    }
    return first_justified(places, tables, root, error_code, names_state(i) ? kLongestState : kLongestOperand);
}

bool reads_and_writes(const u8* instruction) {
    const Instruction i = decode(instruction);
    if (!i.has_modrm || i.modrm >> 6 == 3) {
        return false;
    }
    const u8 code = i.opcode;
    const u8 extension = i.extension();
    if (i.map == Map::two_byte) {
        return code == 0xb0 || code == 0xb1 || code == 0xc0 || code == 0xc1 || code == 0xab || code == 0xb3 ||
               code == 0xbb || code == 0xa4 || code == 0xa5 || code == 0xac || code == 0xad ||
               (code == 0xba && extension > 4) || (code == 0xc7 && extension == 1);
    }
    if (i.map != Map::one_byte) {
        return false;
    }
    if (code < 0x38) {
        return (code & 7) < 2;
    }
    switch (code) {
        case 0x80:
        case 0x81:
        case 0x83:
            return extension != 7;
        case 0x86:
        case 0x87:
        case 0xc0:
        case 0xc1:
        case 0xd0:
        case 0xd1:
        case 0xd2:
        case 0xd3:
            return true;
        case 0xf6:
        case 0xf7:
            return extension == 2 || extension == 3;
        case 0xfe:
        case 0xff:
            return extension < 2;
        default:
            return false;
    }
}

}  // namespace understudy::pv
