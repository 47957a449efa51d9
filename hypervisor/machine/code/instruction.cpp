#include "hypervisor/machine/code/instruction.hpp"

#include "guest/abi/abi.hpp"
#include "hypervisor/machine/stops.hpp"

namespace understudy::machine {
namespace {

std::uint8_t destination_register(const Instruction& instruction) {
    return static_cast<std::uint8_t>(instruction.raw.modrm.rm | (instruction.raw.rex.B << 3));
}

std::uint8_t by_width(const Instruction& instruction, std::uint8_t port16) {
    const std::uint8_t step = instruction.operand_width == 16 ? 0x00 : instruction.operand_width == 32 ? 0x10 : 0x20;
    return static_cast<std::uint8_t>(port16 + step + destination_register(instruction));
}

// `out imm8, %eax` to a port of ours: the guest kernel's own, or what stands in for a replaced instruction.
bool is_stop(const Instruction& instruction) {
    return instruction.opcode == 0xe7 && instruction.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
           meaning_of(static_cast<std::uint8_t>(instruction.raw.imm[0].value.u)).has_value();
}

}  // namespace

std::optional<Instruction> decode(std::span<const std::byte> code) {
    static const ZydisDecoder decoder = [] {
        ZydisDecoder made;
        ZydisDecoderInit(&made, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        return made;
    }();
    std::optional<Instruction> instruction(std::in_place);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, code.data(), code.size(), &*instruction))) {
        instruction.reset();
    }
    return instruction;
}

std::optional<std::uint8_t> stand_in(const Instruction& instruction) {
    switch (instruction.mnemonic) {
        case ZYDIS_MNEMONIC_RDTSC:
            return abi::kPortRdtsc;
        case ZYDIS_MNEMONIC_RDTSCP:
            return abi::kPortRdtscp;
        case ZYDIS_MNEMONIC_CPUID:
            return abi::kPortCpuid;
        case ZYDIS_MNEMONIC_XGETBV:
            return abi::kPortXgetbv;
        case ZYDIS_MNEMONIC_RDRAND:
            return by_width(instruction, abi::kPortRdrand16);
        case ZYDIS_MNEMONIC_RDSEED:
            return by_width(instruction, abi::kPortRdseed16);
        case ZYDIS_MNEMONIC_RDPID:
            return static_cast<std::uint8_t>(abi::kPortRdpid + destination_register(instruction));
        default:
            return std::nullopt;
    }
}

bool position_independent(const Instruction& instruction) {
    if ((instruction.attributes & ZYDIS_ATTRIB_IS_RELATIVE) != 0) {
        return false;
    }
    switch (instruction.meta.category) {
        case ZYDIS_CATEGORY_CALL:
        case ZYDIS_CATEGORY_COND_BR:
        case ZYDIS_CATEGORY_UNCOND_BR:
        case ZYDIS_CATEGORY_RET:
        case ZYDIS_CATEGORY_INTERRUPT:
        case ZYDIS_CATEGORY_SYSCALL:
        case ZYDIS_CATEGORY_SYSTEM:
        case ZYDIS_CATEGORY_IO:
            return false;
        default:
            return true;
    }
}

bool ends_flow(const Instruction& instruction) {
    switch (instruction.mnemonic) {
        case ZYDIS_MNEMONIC_HLT:
        case ZYDIS_MNEMONIC_INT3:
        case ZYDIS_MNEMONIC_UD0:
        case ZYDIS_MNEMONIC_UD1:
        case ZYDIS_MNEMONIC_UD2:
            return true;
        default:
            return instruction.meta.category == ZYDIS_CATEGORY_RET ||
                   instruction.meta.category == ZYDIS_CATEGORY_UNCOND_BR;
    }
}

bool plausible(const Instruction& instruction) {
    switch (instruction.mnemonic) {
        case ZYDIS_MNEMONIC_HLT:  // how libraries end what must not return
        case ZYDIS_MNEMONIC_INT3:
            return true;
        case ZYDIS_MNEMONIC_ADD:  // 00 00
            return instruction.length != 2 || instruction.opcode != 0 || instruction.raw.modrm.mod != 0 ||
                   instruction.raw.modrm.reg != 0 || instruction.raw.modrm.rm != 0;
        case ZYDIS_MNEMONIC_ENTER:
        case ZYDIS_MNEMONIC_XLAT:
        case ZYDIS_MNEMONIC_IRET:
        case ZYDIS_MNEMONIC_IRETD:
        case ZYDIS_MNEMONIC_IRETQ:
        case ZYDIS_MNEMONIC_LSS:
        case ZYDIS_MNEMONIC_LFS:
        case ZYDIS_MNEMONIC_LGS:
            return false;
        default:
            break;
    }
    switch (instruction.meta.category) {
        case ZYDIS_CATEGORY_IO:
            return is_stop(instruction);
        case ZYDIS_CATEGORY_IOSTRINGOP:
        case ZYDIS_CATEGORY_INTERRUPT:
        case ZYDIS_CATEGORY_SEGOP:
            return false;
        default:
            return (instruction.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) == 0 &&
                   instruction.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR;
    }
}

std::optional<std::uint64_t> branch_target(const Instruction& instruction, std::uint64_t address) {
    for (const auto& immediate : instruction.raw.imm) {
        if (immediate.size != 0 && immediate.is_relative) {
            return address + instruction.length + immediate.value.u;
        }
    }
    return std::nullopt;
}

}  // namespace understudy::machine
