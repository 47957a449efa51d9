#include "tests/unit/guest/pv/corpus.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace understudy::pv {
namespace {

constexpr std::size_t kGeneral = 16;

// Would lead out of the test, where it does not fault: another place to execute, other segment bases, another kernel.
bool leads_out(const Decoded& decoded) {
    switch (decoded.instruction.mnemonic) {
        case ZYDIS_MNEMONIC_SYSCALL:
        case ZYDIS_MNEMONIC_SYSENTER:
        case ZYDIS_MNEMONIC_INT:
        case ZYDIS_MNEMONIC_INT1:
        case ZYDIS_MNEMONIC_XBEGIN:
        case ZYDIS_MNEMONIC_WRFSBASE:
        case ZYDIS_MNEMONIC_WRGSBASE:
        case ZYDIS_MNEMONIC_LFS:
        case ZYDIS_MNEMONIC_LGS:
        case ZYDIS_MNEMONIC_LSS:
        case ZYDIS_MNEMONIC_SGDT:  // emulated by the host's kernel (UMIP)
        case ZYDIS_MNEMONIC_SIDT:
        case ZYDIS_MNEMONIC_SMSW:
        case ZYDIS_MNEMONIC_SLDT:
        case ZYDIS_MNEMONIC_STR:
        case ZYDIS_MNEMONIC_XRSTOR:  // of the segment bases' and the shadow stack's state, on some processors
        case ZYDIS_MNEMONIC_XRSTOR64:
            return true;
        default:
            break;
    }
    const auto writes_segment = [](const ZydisDecodedOperand& operand) {
        return operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
               ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_SEGMENT &&
               (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    };
    return std::ranges::any_of(decoded.all(), writes_segment);
}

bool touches_memory(const ZydisDecodedOperand& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type != ZYDIS_MEMOP_TYPE_AGEN &&
           operand.mem.type != ZYDIS_MEMOP_TYPE_MIB;
}

ZydisRegisterContext registers_of(const understudy_frame& frame) {
    ZydisRegisterContext context{};
    const std::array<u64, kGeneral> values = {frame.rax, frame.rcx, frame.rdx, frame.rbx, frame.rsp, frame.rbp,
                                              frame.rsi, frame.rdi, frame.r8,  frame.r9,  frame.r10, frame.r11,
                                              frame.r12, frame.r13, frame.r14, frame.r15};
    std::ranges::copy(values, &context.values[ZYDIS_REGISTER_RAX]);
    for (std::size_t i = 0; i < kGeneral; ++i) {
        context.values[ZYDIS_REGISTER_EAX + i] = values[i] & 0xffffffff;
    }
    context.values[ZYDIS_REGISTER_AL] = frame.rax & 0xff;
    return context;
}

u64& general(understudy_frame& frame, ZydisRegister number) {
    const std::array<u64*, kGeneral> all = {&frame.rax, &frame.rcx, &frame.rdx, &frame.rbx, &frame.rsp, &frame.rbp,
                                            &frame.rsi, &frame.rdi, &frame.r8,  &frame.r9,  &frame.r10, &frame.r11,
                                            &frame.r12, &frame.r13, &frame.r14, &frame.r15};
    return *all.at(static_cast<std::size_t>(ZydisRegisterGetId(number)));
}

bool is_general(ZydisRegister number) {
    const auto of = ZydisRegisterGetClass(number);
    return of == ZYDIS_REGCLASS_GPR64 || of == ZYDIS_REGCLASS_GPR32;
}

}  // namespace

std::optional<Decoded> decode_by_zydis(std::span<const u8> code) {
    static const ZydisDecoder decoder = [] {
        ZydisDecoder made;
        ZydisDecoderInit(&made, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        return made;
    }();
    Decoded decoded;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data(), code.size(), &decoded.instruction,
                                             decoded.operands.data()))) {
        return std::nullopt;
    }
    return decoded;
}

std::vector<u8> Corpus::bytes(u8 map, u8 opcode) {
    std::vector<u8> code;
    const auto add = [&](std::initializer_list<unsigned> more) {
        std::ranges::transform(more, std::back_inserter(code), [](unsigned byte) { return static_cast<u8>(byte); });
    };
    const auto maybe = [&](u64 n, unsigned byte) {
        if (one_in(n)) {
            add({byte});
        }
    };
    maybe(6, one_in(2) ? 0x64 : 0x65);
    maybe(6, 0x67);
    maybe(12, 0x2e);
    constexpr u8 kFirstVex = 4;
    if (map < kFirstVex) {
        maybe(4, 0x66);
        maybe(5, one_in(2) ? 0xf2 : 0xf3);
        maybe(12, 0xf0);
        maybe(2, 0x40 | static_cast<unsigned>(below(16)));
        if (map != 0) {
            add({0x0f});
        }
        if (map > 1) {
            add({map == 2 ? 0x38U : 0x3aU});
        }
        add({opcode});
    } else if (map == kFirstVex && one_in(2)) {
        add({0xc5, static_cast<unsigned>(below(256)), opcode});
    } else {
        add({0xc4, static_cast<unsigned>(below(8) << 5) | (map - 3U), static_cast<unsigned>(below(256)), opcode});
    }
    // ModRM, SIB, displacement, immediate: whatever comes, and more than any of them. No far branch, no large frame.
    const std::size_t operands = code.size();
    for (int i = 0; i < 12; ++i) {
        add({static_cast<unsigned>(one_in(3) ? below(8) : below(256))});
    }
    if (one_in(2)) {
        code[operands] &= 0xbf;  // a memory operand more often than a register
    }
    return code;
}

// Near the border between two pages.
u64 Corpus::place() {
    const u64 border = arena_.begin() + (1 + below(Arena::kPages - 1)) * kPageBytes;
    const u64 distance = one_in(4) ? below(600) : below(20);
    return one_in(2) ? border - distance : border + distance;
}

void Corpus::choose_registers(Case& made, const Decoded& decoded) {
    understudy_frame& frame = made.frame;
    for (std::size_t i = 0; i < kGeneral; ++i) {
        const auto number = static_cast<ZydisRegister>(ZYDIS_REGISTER_RAX + static_cast<int>(i));
        general(frame, number) = place();
    }
    constexpr u64 kDirection = 0x400;
    constexpr u64 kArithmetic = 0x8d5;
    frame.rflags = 0x202 | (one_in(2) ? kDirection : 0) | (random_() & kArithmetic);
    if (one_in(2)) {
        frame.rcx = below(3) == 0 ? place() : below(16);  // of repetitions and shifts
    }
    for (const ZydisDecodedOperand& operand : decoded.all()) {
        if (!touches_memory(operand)) {
            continue;
        }
        const auto& memory = operand.mem;
        const u64 segment = memory.segment == ZYDIS_REGISTER_FS   ? fs_base()
                            : memory.segment == ZYDIS_REGISTER_GS ? kGsBase
                                                                  : 0;
        u64 target = place() - segment - static_cast<u64>(memory.disp.has_displacement ? memory.disp.value : 0);
        if (is_general(memory.index) && memory.index != memory.base) {
            general(frame, memory.index) = one_in(2) ? below(64) : ~below(64);
            target -= general(frame, memory.index) * memory.scale;
        }
        if (memory.base == ZYDIS_REGISTER_RSP && operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
            continue;  // the stack is near a border anyway
        }
        if (is_general(memory.base)) {
            general(frame, memory.base) = target;
            if (decoded.instruction.address_width == 32 && one_in(2)) {
                general(frame, memory.base) |= random_() << 32;
            }
        }
    }
}

bool Corpus::lies_in_arena(const Case& made) const {
    const ZydisRegisterContext context = registers_of(made.frame);
    bool any = false;
    for (const ZydisDecodedOperand& operand : made.decoded.all()) {
        if (!touches_memory(operand)) {
            continue;
        }
        any = true;
        u64 address = 0;
        if (operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB ||
            !ZYAN_SUCCESS(
                ZydisCalcAbsoluteAddressEx(&made.decoded.instruction, &operand, made.frame.rip, &context, &address))) {
            return false;
        }
        address += operand.mem.segment == ZYDIS_REGISTER_FS   ? fs_base()
                   : operand.mem.segment == ZYDIS_REGISTER_GS ? kGsBase
                                                              : 0;
        constexpr u64 kSlack = 2 * kPageBytes;  // bit strings reach far; so does the state of the processor
        if (address < arena_.begin() + kPageBytes / 2 || address + kSlack > arena_.end()) {
            return false;
        }
    }
    return any;
}

std::optional<Case> Corpus::make(u8 map, u8 opcode) {
    Case made;
    made.code = bytes(map, opcode);
    auto decoded = decode_by_zydis(made.code);
    if (!decoded) {
        return std::nullopt;
    }
    const auto& raw = decoded->instruction.raw;
    // Where there is no base to choose, the displacement names the place; a branch leads to what follows it.
    for (const ZydisDecodedOperand& operand : decoded->all()) {
        const bool has_base = touches_memory(operand) && is_general(operand.mem.base);
        if (touches_memory(operand) && !has_base && raw.disp.size >= 32) {
            const u64 from = operand.mem.base == ZYDIS_REGISTER_NONE ? 0 : arena_.code() + decoded->instruction.length;
            const u64 target = place() - from - (operand.mem.segment == ZYDIS_REGISTER_GS ? kGsBase : 0);
            std::memcpy(made.code.data() + raw.disp.offset, &target, raw.disp.size / 8U);
        }
    }
    for (const auto& immediate : raw.imm) {
        if (immediate.is_relative) {
            std::memset(made.code.data() + immediate.offset, 0, immediate.size / 8U);
        }
    }
    decoded = decode_by_zydis(made.code);
    if (!decoded || leads_out(*decoded)) {
        return std::nullopt;
    }
    made.code.resize(decoded->instruction.length);
    made.decoded = *decoded;
    made.frame.rip = arena_.code();
    choose_registers(made, *decoded);
    return lies_in_arena(made) ? std::optional(made) : std::nullopt;
}

}  // namespace understudy::pv
