// Instructions that the kernel replaced in programs, by opcodes that no processor has in 64-bit mode
// (guest/linux/overlay/sites.c): executed here, so that every replica has the same result.
#include "guest/pv/fault_address.hpp"
#include "guest/pv/instruction.hpp"
#include "guest/pv/layer.hpp"

namespace understudy::pv {
namespace {

constexpr u64 kZeroFlag = 0x40;
constexpr u64 kFxsaveAlignment = 16;
// What FXSAVE writes; the rest of its 512 bytes is the program's.
constexpr u64 kFxsaveBytes = 416;
constexpr u64 kFnstenvBytes = 28;
constexpr u64 kFnsaveBytes = 108;

alignas(kFxsaveAlignment) u8 state[512];

void clear(u64 from, u64 to) {
    for (u64 i = from; i < to; ++i) {
        state[i] = 0;
    }
}

// FIP, FDP, FCS, FDS and FOP are those of the last x87 instruction, or nothing after a context switch of the host.
void store_fxsave(bool wide) {
    clear(0, sizeof state);  // processors leave out what is reserved
    if (wide) {
        __asm__ volatile("fxsave64 %0" : "=m"(state));
    } else {
        __asm__ volatile("fxsave %0" : "=m"(state));
    }
    clear(6, 24);
    state[28] = 0xff;  // MXCSR_MASK: without what some processors have
    state[29] = 0xff;
    state[30] = 0;
    state[31] = 0;
}

// Of three words the upper halves are reserved: ones, as processors have it; emulated ones store zeros.
void clear_environment() {
    clear(12, kFnstenvBytes);
    for (u64 word = 0; word < 12; word += 4) {
        state[word + 2] = state[word + 3] = 0xff;
    }
}

void store_environment() {
    __asm__ volatile("fnstenv %0" : "=m"(state));
    clear_environment();
}

void store_all() {
    __asm__ volatile("fnsave %0" : "=m"(state));
    clear_environment();
}

// The way of a fault that the instruction itself would have had.
Emulated raise(understudy_frame& frame, u64 vector, u64 error_code) {
    frame.vector = vector;
    frame.error_code = error_code;
    return Emulated::raises;
}

// Copies what is in `state` to the program, if it may write there.
Emulated store(understudy_frame& frame, u64 address, u64 bytes) {
    constexpr u64 kCanonicalEnd = u64{1} << 47;
    if (address >= kCanonicalEnd || address + bytes > kCanonicalEnd) {
        return raise(frame, kGeneralProtectionVector, 0);
    }
    const PageTables tables = page_tables();
    for (u64 at = address; at < address + bytes; at = (at | (kPageBytes - 1)) + 1) {
        const Translation now = tables.translate(layer.page_table, at);
        if (!now.present || !now.writable) {
            vcpu_info->arch.cr2 = at;
            return raise(frame, kPageFaultVector, kFaultUser | kFaultWrite | (now.present ? kFaultProtection : u64{0}));
        }
    }
    for (u64 i = 0; i < bytes; ++i) {
        reinterpret_cast<volatile u8*>(address)[i] = state[i];
    }
    return Emulated::done;
}

// FNSTENV and FNSAVE change what they store, so whether the program may have it is known first.
Emulated store_x87(understudy_frame& frame, const Instruction& i, u64 address) {
    const bool all = i.opcode == 0xdd;
    const u64 bytes = all ? kFnsaveBytes : kFnstenvBytes;
    // The forms for 16 bits have another layout, and no program.
    if (i.operand_16) {
        return Emulated::no;
    }
    store_fxsave(true);  // anything: the first copy is a trial
    if (const Emulated tried = store(frame, address, bytes); tried != Emulated::done) {
        return tried;
    }
    all ? store_all() : store_environment();
    return store(frame, address, bytes);
}

// What Linux answers where the processor refuses these (UMIP): tables at the end of the address space, and of no
// length.
constexpr u64 kDescriptorTableBytes = 10;
constexpr u64 kGdtBase = 0xfffffffffffe0000;
constexpr u64 kIdtBase = 0xffffffffffff0000;
constexpr u32 kTaskSegment = 0x40;
constexpr u32 kMachineStatus = 0x80050033;  // CR0 as Linux has it

Emulated store_descriptor_table(understudy_frame& frame, u64 base, u64 address) {
    clear(0, 2);
    for (u64 i = 0; i < sizeof base; ++i) {
        state[2 + i] = static_cast<u8>(base >> (8 * i));
    }
    return store(frame, address, kDescriptorTableBytes);
}

// Memory gets a word of it; a register all that it holds.
Emulated store_selector(understudy_frame& frame, const Instruction& i, u32 value, u64 address) {
    constexpr u64 kWord = 0xffff;
    if (i.modrm >> 6 != 3) {
        state[0] = static_cast<u8>(value);
        state[1] = static_cast<u8>(value >> 8);
        return store(frame, address, 2);
    }
    u64& target = register_of(frame, (i.modrm & 7u) | ((i.rex & 1u) << 3));
    target = i.operand_16 ? (target & ~kWord) | (value & kWord) : value;
    return Emulated::done;
}

Emulated execute(understudy_frame& frame, const Instruction& i, u64 address) {
    const bool names_memory = i.has_modrm && i.modrm >> 6 != 3;
    if (i.map == Map::one_byte) {
        return i.extension() == 6 && names_memory ? store_x87(frame, i, address) : Emulated::no;
    }
    if (i.map != Map::two_byte) {
        return Emulated::no;
    }
    switch (i.opcode) {
        case 0xa2:
            cpuid(frame);
            return Emulated::done;
        case 0x01:  // SGDT, SIDT, SMSW
            if (i.extension() == 4) {
                return store_selector(frame, i, kMachineStatus, address);
            }
            if (i.extension() > 1 || !names_memory) {
                return Emulated::no;
            }
            return store_descriptor_table(frame, i.extension() == 0 ? kGdtBase : kIdtBase, address);
        case 0x00:
            if (i.extension() < 2) {  // SLDT, STR
                return store_selector(frame, i, i.extension() == 0 ? 0 : kTaskSegment, address);
            }
            if (i.extension() != 4 && i.extension() != 5) {
                return Emulated::no;
            }
            [[fallthrough]];  // VERR, VERW: of no segment is it true
        case 0x02:            // LAR
        case 0x03:            // LSL
            frame.rflags &= ~kZeroFlag;
            return Emulated::done;
        case 0xae:
            if (i.extension() != 0 || !names_memory) {
                return Emulated::no;
            }
            if (address % kFxsaveAlignment != 0) {
                return raise(frame, kGeneralProtectionVector, 0);
            }
            store_fxsave(i.wide());
            return store(frame, address, kFxsaveBytes);
        default:
            return Emulated::no;  // not there, by CPUID: invalid
    }
}

u64 bytes_behind_opcode(const Instruction& i) {
    return i.has_modrm ? operand_bytes(i) : 0;
}

// Of an instruction whose page ends before what follows can be read. The processor has not fetched that: it had seen
// enough.
enum class AtTheEnd : u8 { no_site, whole, reaches_over };
AtTheEnd look_at_end(const u8* code, u64 readable) {
    u8 whole[2 * kLongestInstruction] = {};
    for (u64 at = 0; at < readable; ++at) {
        whole[at] = code[at];
    }
    const Instruction i = decode(whole);
    if (!i.known || !i.replaced) {
        return AtTheEnd::no_site;
    }
    const u64 length = static_cast<u64>(i.behind_modrm - whole) + bytes_behind_opcode(i);
    return length > readable ? AtTheEnd::reaches_over : AtTheEnd::whole;
}

}  // namespace

Emulated emulate_program(understudy_frame& frame) {
    const auto* const code = reinterpret_cast<const u8*>(frame.rip);
    const u64 readable = readable_code(page_tables(), layer.page_table, frame.rip);
    if (readable == 0) {
        return Emulated::no;
    }
    const AtTheEnd end = readable < kLongestInstruction ? look_at_end(code, readable) : AtTheEnd::whole;
    if (end == AtTheEnd::no_site) {
        return Emulated::no;
    }
    if (end == AtTheEnd::reaches_over) {
        vcpu_info->arch.cr2 = frame.rip + readable;
        return raise(frame, kPageFaultVector, kFaultUser | kFaultFetch);
    }
    const Instruction i = decode(code);
    if (!i.known || !i.replaced) {
        return Emulated::no;
    }
    const Context context{&frame, read_fs(), read_gs()};
    const bool has_operand = i.has_modrm && i.modrm >> 6 != 3;
    const u64 address = has_operand ? effective_address(i, context) + segment_base(i, context) : 0;
    const u64 next = reinterpret_cast<u64>(i.behind_modrm) + bytes_behind_opcode(i);
    const Emulated result = execute(frame, i, address);
    if (result == Emulated::done) {
        frame.rip = next;
    }
    return result;
}

}  // namespace understudy::pv
