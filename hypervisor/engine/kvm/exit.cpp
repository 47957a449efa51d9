#include "hypervisor/engine/kvm/exit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace understudy::engine {
namespace {

Exit port_access(const kvm_run& run) {
    constexpr unsigned kLastPort = 0xff;  // OUT imm8 reaches no other
    if (run.io.direction != KVM_EXIT_IO_OUT || run.io.count != 1 || run.io.port > kLastPort) {
        return AbsentPort{run.io.port};
    }
    std::uint32_t value = 0;
    const auto* data = reinterpret_cast<const std::byte*>(&run) + run.io.data_offset;
    std::memcpy(&value, data, std::min<std::size_t>(run.io.size, sizeof value));
    return PortOut{static_cast<std::uint8_t>(run.io.port), value};
}

}  // namespace

Exit exit_of(const kvm_run& run) {
    switch (run.exit_reason) {
        case KVM_EXIT_IO:
            return port_access(run);
        case KVM_EXIT_SHUTDOWN:
            return Broken{"triple fault: an exception could not be delivered (the stack pointer may be bad)"};
        case KVM_EXIT_MMIO:
            return Broken{fmt::format("it touched physical address {:#x}, which is outside its memory",
                                      std::uint64_t{run.mmio.phys_addr})};
        case KVM_EXIT_INTERNAL_ERROR:
            return Broken{fmt::format("KVM cannot emulate an instruction (internal error {})",
                                      std::uint32_t{run.internal.suberror})};
        case KVM_EXIT_FAIL_ENTRY:
            return Broken{fmt::format("the processor refuses the guest's state (reason {:#x})",
                                      std::uint64_t{run.fail_entry.hardware_entry_failure_reason})};
        default:
            return Broken{fmt::format("KVM exit reason {}", std::uint32_t{run.exit_reason})};
    }
}

}  // namespace understudy::engine
