#include "guest/pv/fault_address.hpp"

namespace understudy::pv {
namespace {

// No memory operand of a decoded instruction is longer, but for the state of FXSAVE and its kin.
constexpr u64 kLongestOperand = 64;
constexpr u64 kLongestState = 4096;

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
bool add_implied(const Instruction& i, const Context& context, Places& places) {
    const understudy_frame& frame = *context.frame;
    const u64 mask = i.address_32 ? 0xffffffff : ~u64{0};
    const u64 source = (frame.rsi & mask) + segment_base(i, context);
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
            places.add(((frame.rbx + (frame.rax & 0xff)) & mask) + segment_base(i, context));
            return true;
        case 0xa0:
        case 0xa1:
        case 0xa2:
        case 0xa3:
            places.add(little_endian(i.behind_modrm, i.address_32 ? 4 : 8) + segment_base(i, context));
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
bool add_named(const Instruction& i, const Context& context, Places& places) {
    if (!i.has_modrm || i.modrm >> 6 == 3) {
        return false;
    }
    if (i.is(Map::two_byte, 0xf7) || i.is(Map::one_byte, 0x8d)) {  // MASKMOVQ names RDI by itself; LEA touches nothing
        return false;
    }
    u64 address = effective_address(i, context);
    const bool writes = (context.frame->error_code & kFaultWrite) != 0;
    const bool pop = i.is(Map::one_byte, 0x8f) && i.extension() == 0;
    if (pop && !writes) {
        places.add(context.frame->rsp);
        return true;
    }
    if (pop && (i.modrm & 7) == 4 && (*i.behind_modrm & 7) == 4 && (i.rex & kRexB) == 0) {
        address += i.operand_16 ? 2 : 8;  // its address counts with the stack pointer behind the pop
    }
    const bool calls_or_pushes = i.is(Map::one_byte, 0xff) && (i.extension() == 2 || i.extension() == 6);
    places.add(calls_or_pushes && writes ? context.frame->rsp - (i.operand_16 ? 2 : 8)
                                         : address + segment_base(i, context));
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
    if (!now.present || (error_code & kFaultProtection) == 0) {
        return !now.present && (error_code & kFaultProtection) == 0;
    }
    if ((error_code & kFaultReserved) != 0) {
        return true;
    }
    return ((error_code & kFaultWrite) != 0 && !now.writable) || ((error_code & kFaultFetch) != 0 && !now.executable);
}

FaultAddress fault_address(const Context& context, const PageTables& tables, u64 root) {
    const understudy_frame& frame = *context.frame;
    const u64 error_code = frame.error_code;
    Places places;
    if ((error_code & kFaultFetch) != 0) {
        places.add(frame.rip);
        constexpr u64 kLongestInstruction = 15;
        return first_justified(places, tables, root, error_code, kLongestInstruction);
    }
    const Instruction i = decode(reinterpret_cast<const u8*>(frame.rip));
    if (!i.known || (!add_implied(i, context, places) && !add_named(i, context, places))) {
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
