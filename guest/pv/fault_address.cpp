#include "guest/pv/fault_address.hpp"

namespace understudy::pv {
namespace {

// A place that an instruction touches. Which bytes beyond the first may be known, or not.
struct Place {
    u64 address = 0;
    u64 bytes = 0;  // 0: some
};

// In the order in which they are looked at.
class Places {
  public:
    void add(u64 address, u64 bytes) { places_[count_++] = {address, bytes}; }
    [[nodiscard]] const Place* begin() const { return places_; }
    [[nodiscard]] const Place* end() const { return places_ + count_; }

  private:
    Place places_[2] = {};
    unsigned count_ = 0;
};

// Those that read one operand and write the other fault as what they did there.
bool add_string(const Instruction& i, const Context& context, Places& places) {
    const understudy_frame& frame = *context.frame;
    const u64 mask = i.address_32 ? 0xffffffff : ~u64{0};
    const u64 source = (frame.rsi & mask) + segment_base(i, context);
    const u64 destination = frame.rdi & mask;
    const u64 bytes = memory_bytes(i);
    const bool writes = (frame.error_code & kFaultWrite) != 0;
    switch (i.opcode & 0xfe) {
        case 0xa4:  // MOVS
            places.add(writes ? destination : source, bytes);
            return true;
        case 0xa6:  // CMPS
            places.add(source, bytes);
            places.add(destination, bytes);
            return true;
        case 0xaa:  // STOS, SCAS
        case 0xae:
            places.add(destination, bytes);
            return true;
        case 0xac:  // LODS
            places.add(source, bytes);
            return true;
        default:
            return false;
    }
}

// PUSH and POP, CALL and RET. A near branch with an operand of 16 bits is one thing to one maker's processors and
// another to the other's.
bool add_stack(const Instruction& i, const Context& context, Places& places) {
    const understudy_frame& frame = *context.frame;
    const u64 bytes = i.narrow() ? 2 : 8;
    const bool two_byte = i.map == Map::two_byte;
    const u8 code = i.opcode;
    const bool branches = code == 0xe8 || code == 0xc2 || code == 0xc3;
    if (!two_byte && branches && i.narrow()) {
        return false;
    }
    const bool pushes =
        two_byte ? code == 0xa0 || code == 0xa8
                 : (code >= 0x50 && code <= 0x57) || code == 0x68 || code == 0x6a || code == 0x9c || code == 0xe8;
    const bool pops = two_byte ? code == 0xa1 || code == 0xa9
                               : (code >= 0x58 && code <= 0x5f) || code == 0x9d || code == 0xc2 || code == 0xc3;
    if (pushes) {
        places.add(frame.rsp - bytes, bytes);
    } else if (pops) {
        places.add(frame.rsp, bytes);
    } else if (!two_byte && code == 0xc9) {  // LEAVE
        places.add(frame.rbp, bytes);
    }
    return places.begin() != places.end();
}

// Instructions whose operands are implied: stack, strings, tables.
bool add_implied(const Instruction& i, const Context& context, Places& places) {
    if (i.map != Map::one_byte && i.map != Map::two_byte) {
        return false;
    }
    if (i.vex || add_stack(i, context, places)) {
        return !i.vex;
    }
    if (i.map != Map::one_byte) {
        return false;
    }
    const understudy_frame& frame = *context.frame;
    const u64 mask = i.address_32 ? 0xffffffff : ~u64{0};
    if (i.opcode == 0xd7) {  // XLAT
        places.add(((frame.rbx + (frame.rax & 0xff)) & mask) + segment_base(i, context), 1);
        return true;
    }
    if (i.opcode >= 0xa0 && i.opcode <= 0xa3) {
        places.add(little_endian(i.behind_modrm, i.address_32 ? 4 : 8) + segment_base(i, context), memory_bytes(i));
        return true;
    }
    return add_string(i, context, places);
}

// PUSH, POP and CALL with an operand of their own beside the stack: what was read is not what was written.
enum class Stack : u8 { no, pushes, pops };
Stack stack_use(const Instruction& i) {
    if (i.vex || i.map != Map::one_byte) {
        return Stack::no;
    }
    if (i.opcode == 0xff && (i.extension() == 2 || i.extension() == 6)) {
        return Stack::pushes;
    }
    return i.opcode == 0x8f && i.extension() == 0 ? Stack::pops : Stack::no;
}

bool add_beside_stack(const Instruction& i, const Context& context, Stack stack, Places& places) {
    const understudy_frame& frame = *context.frame;
    const u64 bytes = i.narrow() ? 2 : 8;
    if (i.opcode == 0xff && i.extension() == 2 && i.narrow()) {
        return false;
    }
    const bool writes = (frame.error_code & kFaultWrite) != 0;
    if ((stack == Stack::pushes) == writes) {
        places.add(writes ? frame.rsp - bytes : frame.rsp, bytes);
        return true;
    }
    if (i.modrm >> 6 == 3) {
        return false;
    }
    u64 address = effective_address(i, context) + segment_base(i, context);
    if (stack == Stack::pops && (i.modrm & 7) == 4 && (*i.behind_modrm & 7) == 4 && (i.rex & kRexB) == 0) {
        address += bytes;  // counts with the stack pointer behind the pop
    }
    places.add(address, bytes);
    return true;
}

// MOV, arithmetic, vectors: whatever names memory by ModRM.
bool add_named(const Instruction& i, const Context& context, Places& places) {
    if (!i.has_modrm) {
        return false;
    }
    if (const Stack stack = stack_use(i); stack != Stack::no) {
        return add_beside_stack(i, context, stack, places);
    }
    const bool touches_nothing = i.modrm >> 6 == 3 || (i.is(Map::one_byte, 0x8d) && !i.vex);  // LEA
    if (touches_nothing || i.is(Map::two_byte, 0xf7)) {  // MASKMOVQ: RDI, by itself
        return false;
    }
    places.add(effective_address(i, context) + segment_base(i, context), memory_bytes(i));
    return true;
}

FaultAddress first_justified(const Places& places, const PageTables& tables, u64 root, u64 error_code) {
    for (const Place& place : places) {
        if (justified(tables, root, place.address, error_code)) {
            return {true, place.address};
        }
        const u64 next_page = (place.address | (kPageBytes - 1)) + 1;
        constexpr u64 kLongestOperand = 4096;  // the state of FXSAVE and its kin
        const u64 most = place.bytes != 0 ? place.bytes : kLongestOperand;
        if (next_page - place.address < most && justified(tables, root, next_page, error_code)) {
            // Perhaps it ends before, and a stale translation of the first page was what it met.
            return {place.bytes != 0, next_page};
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

u64 readable_code(const PageTables& tables, u64 root, u64 rip) {
    const auto readable = [&](u64 address) { return tables.translate(root, address).present; };
    if (!readable(rip)) {
        return 0;
    }
    const u64 here = kPageBytes - rip % kPageBytes;
    return here >= kLongestInstruction || readable(rip + here) ? kLongestInstruction : here;
}

FaultAddress fault_address(const Context& context, const PageTables& tables, u64 root) {
    const understudy_frame& frame = *context.frame;
    const u64 error_code = frame.error_code;
    Places places;
    if ((error_code & kFaultFetch) != 0) {
        places.add(frame.rip, 0);
        return first_justified(places, tables, root, error_code);
    }
    const Instruction i = decode(reinterpret_cast<const u8*>(frame.rip));
    if (!i.known || (!add_implied(i, context, places) && !add_named(i, context, places))) {
        return {};
    }
    return first_justified(places, tables, root, error_code);
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
