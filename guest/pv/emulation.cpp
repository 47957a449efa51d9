// Instructions that are executed in the guest's stead: those that ring 3 may not, where Linux's PV code uses them all
// the same, and those whose answer must not come from the host's processor.
#include "guest/pv/fault_address.hpp"
#include "guest/pv/instruction.hpp"
#include "guest/pv/layer.hpp"

namespace understudy::pv {
namespace {

constexpr u8 kEscape = 0x0f;
constexpr u64 kCr0 = 0x80050033;  // PG, AM off, WP, NE, ET, MP, PE: what Linux expects of a 64-bit processor
constexpr u64 kCr4 = 0x00010620;  // PAE, OSFXSR, OSXMMEXCPT, FSGSBASE

enum Msr : u32 {
    kMsrEfer = 0xc0000080,
    kMsrFsBase = 0xc0000100,
    kMsrGsBase = 0xc0000101,
    kMsrKernelGsBase = 0xc0000102,
    kMsrPat = 0x277,
};
constexpr u64 kEfer = 0xd01;
constexpr u64 kPat = 0x0007040600070406;

// What the kernel last wrote to CR4: of it, whether programs may read the counter (prctl(PR_SET_TSC)).
constexpr u64 kCr4TimeStampDisable = 4;
u64 written_cr4 = 0;

}  // namespace

void cpuid(understudy_frame& frame) {
    const auto leaf = static_cast<u32>(frame.rax);
    const auto subleaf = static_cast<u32>(frame.rcx);
    const auto* const table = in_region<understudy_cpuid>(UNDERSTUDY_CPUID_OFFSET);
    understudy_cpuid answer{};
    constexpr u32 kMostEntries = kPageBytes / sizeof(understudy_cpuid);
    for (u32 i = 0; i < layer.cpuid_entries && i < kMostEntries; ++i) {
        if (table[i].leaf == leaf && (table[i].any_subleaf != 0 || table[i].subleaf == subleaf) &&
            (table[i].kernel_only == 0 || !is_of_program(frame))) {
            answer = table[i];
            break;
        }
    }
    frame.rax = answer.eax;
    frame.rbx = answer.ebx;
    frame.rcx = answer.ecx;
    frame.rdx = answer.edx;
}

namespace {

// The guest's counter runs at 1 GHz: it is the guest's clock.
void rdtsc(understudy_frame& frame, bool with_processor) {
    const u64 now = clock_now();
    frame.rax = now & 0xffffffff;
    frame.rdx = now >> 32;
    if (with_processor) {
        frame.rcx = 0;
    }
}

void write_msr(understudy_frame& frame) {
    const u64 value = (frame.rax & 0xffffffff) | frame.rdx << 32;
    switch (static_cast<u32>(frame.rcx)) {
        case kMsrFsBase:
            write_fs(value);
            break;
        case kMsrGsBase:
            layer.kernel_gs = value;
            write_gs(value);
            break;
        case kMsrKernelGsBase:
            layer.user_gs = value;
            break;
        default:
            break;  // there is no such register here
    }
}

void read_msr(understudy_frame& frame) {
    u64 value = 0;
    switch (static_cast<u32>(frame.rcx)) {
        case kMsrEfer:
            value = kEfer;
            break;
        case kMsrFsBase:
            value = read_fs();
            break;
        case kMsrGsBase:
            value = read_gs();
            break;
        case kMsrKernelGsBase:
            value = layer.user_gs;
            break;
        case kMsrPat:
            value = kPat;
            break;
        default:
            break;
    }
    frame.rax = value & 0xffffffff;
    frame.rdx = value >> 32;
}

u64 control_register(unsigned number) {
    switch (number) {
        case 0:
            return kCr0;
        case 2:
            return vcpu_info->arch.cr2;
        case 3:
            return layer.page_table;
        case 4:
            return kCr4;
        default:
            return 0;
    }
}

// RDTSC and RDTSCP trap where they are disabled (CR4.TSD), of kernel and program alike; the kernel may have disabled
// them for a program.
bool emulate_time(understudy_frame& frame, const u8* code, u64 readable) {
    if (readable < 2 || code[0] != kEscape ||
        ((written_cr4 & kCr4TimeStampDisable) != 0 && is_of_program(frame))) {
        return false;
    }
    if (code[1] == 0x31) {
        rdtsc(frame, false);
        frame.rip += 2;
        return true;
    }
    if (readable > 2 && code[1] == 0x01 && code[2] == 0xf9) {
        rdtsc(frame, true);
        frame.rip += 3;
        return true;
    }
    return false;
}

bool emulate_two_byte(understudy_frame& frame, const u8* code, u8 rex, unsigned length) {
    switch (code[0]) {
        case 0x30:
            write_msr(frame);
            frame.rip += length + 1;
            return true;
        case 0x32:
            read_msr(frame);
            frame.rip += length + 1;
            return true;
        case 0x20: {  // MOV from a control register
            const unsigned target = (code[1] & 7u) | ((rex & 1u) << 3);
            register_of(frame, target) = control_register(code[1] >> 3 & 7u);
            frame.rip += length + 2;
            return true;
        }
        case 0x22:  // MOV to control and debug registers, and from those: there is nothing behind them, but for CR4.TSD
            if ((code[1] >> 3 & 7u) == 4) {
                written_cr4 = register_of(frame, (code[1] & 7u) | ((rex & 1u) << 3));
            }
            frame.rip += length + 2;
            return true;
        case 0x21:
        case 0x23:
            frame.rip += length + 2;
            return true;
        case 0x06:  // CLTS
        case 0x08:  // INVD
        case 0x09:  // WBINVD
            frame.rip += length + 1;
            return true;
        default:
            return false;
    }
}

}  // namespace

bool emulate_privileged(understudy_frame& frame) {
    const auto* code = reinterpret_cast<const u8*>(frame.rip);
    const u64 readable = readable_code(page_tables(), layer.page_table, frame.rip);
    if (emulate_time(frame, code, readable)) {
        return true;
    }
    if (is_of_program(frame) || readable < kLongestInstruction) {
        return false;  // the kernel's code is followed by more of it
    }
    unsigned length = 0;
    u8 rex = 0;
    if ((code[0] & 0xf0) == 0x40) {
        rex = code[0];
        length = 1;
    }
    switch (code[length]) {
        case kEscape:
            return emulate_two_byte(frame, code + length + 1, rex, length + 1);
        // CLI, STI: what is masked are events. Whoever comes here may pair CLI with a POPF, which does not fault and
        // would leave them masked.
        case 0xfa:
        case 0xfb:
        case 0xf4:  // HLT, where the kernel has nothing left to do
            break;
        default:
            return false;
    }
    frame.rip += length + 1;
    return true;
}

bool emulate_xen_cpuid(understudy_frame& frame) {
    const auto* const code = reinterpret_cast<const u8*>(frame.rip);
    // Xen's prefix in front of CPUID: ud2; "xen".
    static constexpr u8 kXenCpuid[] = {0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2};
    if (readable_code(page_tables(), layer.page_table, frame.rip) < sizeof kXenCpuid) {
        return false;
    }
    for (unsigned i = 0; i < sizeof kXenCpuid; ++i) {
        if (code[i] != kXenCpuid[i]) {
            return false;
        }
    }
    cpuid(frame);
    frame.rip += sizeof kXenCpuid;
    return true;
}

}  // namespace understudy::pv
