#include "hypervisor/machine/stops.hpp"

#include <array>

#include "guest/abi/abi.hpp"

namespace understudy::machine {
namespace {

constexpr unsigned kRegisters = 16;
constexpr bool in_range(std::uint8_t port, std::uint8_t first, unsigned ranges) {
    return port >= first && port < first + ranges * kRegisters;
}

}  // namespace

std::optional<StopMeaning> meaning_of(std::uint8_t port) {
    switch (port) {
        case abi::kPortIdle:
            return StopMeaning{StopKind::idle};
        case abi::kPortBudget:
            return StopMeaning{StopKind::budget};
        case abi::kPortExit:
            return StopMeaning{StopKind::exit};
        case abi::kPortFault:
            return StopMeaning{StopKind::fault};
        case abi::kPortEntropy:
            return StopMeaning{StopKind::request, RequestKind::entropy};
        case abi::kPortFlush:
            return StopMeaning{StopKind::request, RequestKind::flush};
        case abi::kPortScanCode:
            return StopMeaning{StopKind::request, RequestKind::scan_code};
        case abi::kPortSyscall:
            return StopMeaning{StopKind::request, RequestKind::syscall_site};
        case abi::kPortRdtsc:
            return StopMeaning{StopKind::request, RequestKind::rdtsc};
        case abi::kPortRdtscp:
            return StopMeaning{StopKind::request, RequestKind::rdtscp};
        case abi::kPortCpuid:
            return StopMeaning{StopKind::request, RequestKind::cpuid};
        case abi::kPortXgetbv:
            return StopMeaning{StopKind::request, RequestKind::xgetbv};
        default:
            break;
    }
    if (in_range(port, abi::kPortRdrand16, 3)) {
        return StopMeaning{StopKind::request, RequestKind::rdrand};
    }
    if (in_range(port, abi::kPortRdseed16, 3)) {
        return StopMeaning{StopKind::request, RequestKind::rdseed};
    }
    if (in_range(port, abi::kPortRdpid, 1)) {
        return StopMeaning{StopKind::request, RequestKind::rdpid};
    }
    return std::nullopt;
}

std::optional<Destination> destination_of(std::uint8_t port) {
    if (in_range(port, abi::kPortRdpid, 1)) {
        return Destination{static_cast<std::uint8_t>(port - abi::kPortRdpid), 64};
    }
    for (const std::uint8_t first : {abi::kPortRdrand16, abi::kPortRdseed16}) {
        if (in_range(port, first, 3)) {
            const unsigned offset = port - first;
            return Destination{static_cast<std::uint8_t>(offset % kRegisters), 16u << (offset / kRegisters)};
        }
    }
    return std::nullopt;
}

void write_register(engine::Registers& registers, Destination destination, std::uint64_t value) {
    std::uint64_t& target = registers.general[destination.register_number];
    switch (destination.width) {
        case 16:
            target = (target & ~std::uint64_t{0xffff}) | (value & 0xffff);
            break;
        case 32:
            target = value & 0xffffffff;
            break;
        default:
            target = value;
            break;
    }
}

const char* exception_name(std::uint64_t vector) {
    static constexpr std::array kNames = {"division error",
                                          "debug exception",
                                          "NMI",
                                          "breakpoint",
                                          "overflow",
                                          "bound range exceeded",
                                          "invalid opcode",
                                          "device not available",
                                          "double fault",
                                          "coprocessor segment overrun",
                                          "invalid TSS",
                                          "segment not present",
                                          "stack fault",
                                          "general protection fault",
                                          "page fault",
                                          "reserved exception",
                                          "x87 floating-point error",
                                          "alignment check",
                                          "machine check",
                                          "SIMD floating-point error"};
    return vector < kNames.size() ? kNames[vector] : "exception";
}

}  // namespace understudy::machine
