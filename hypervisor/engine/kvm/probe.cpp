#include "hypervisor/engine/kvm/probe.hpp"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "common/file_descriptor.hpp"

namespace understudy::engine {
namespace {

struct Needed {
    std::string_view name;
    std::string_view purpose;
    int number;
    int bits;  // that its value must have; 0: any value but 0
};
constexpr std::array kNeeded = {
    Needed{"KVM_CAP_USER_MEMORY", "guest memory is memory of the monitor", KVM_CAP_USER_MEMORY, 0},
    Needed{"KVM_CAP_SYNC_REGS", "registers come with each exit, not by a call of their own", KVM_CAP_SYNC_REGS,
           KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS},
    Needed{"KVM_CAP_IMMEDIATE_EXIT", "an exit is completed without running the guest", KVM_CAP_IMMEDIATE_EXIT, 0},
    Needed{"KVM_CAP_EXT_CPUID", "the guest's CPUID table is the monitor's", KVM_CAP_EXT_CPUID, 0},
    Needed{"KVM_CAP_VCPU_EVENTS", "programs that count nothing are interrupted between instructions",
           KVM_CAP_VCPU_EVENTS, 0},
    Needed{"KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2", "what they wrote until then is copied to the backup",
           KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE},
    Needed{"KVM_CAP_XSAVE", "the floating-point state travels to a backup", KVM_CAP_XSAVE, 0},
};

int create_error(int kvm) {
    const FileDescriptor vm(::ioctl(kvm, KVM_CREATE_VM, 0));
    if (vm.get() < 0) {
        return errno;
    }
    const FileDescriptor vcpu(::ioctl(vm.get(), KVM_CREATE_VCPU, 0));
    return vcpu.get() < 0 ? errno : 0;
}

}  // namespace

// One that is built into the kernel is there even on a host without its processor; kvm_pvm is there where somebody had
// nothing else.
std::string kvm_flavour() {
    for (const std::string_view name : {"kvm_pvm", "kvm_intel", "kvm_amd"}) {
        std::error_code ignored;
        if (std::filesystem::exists(std::filesystem::path("/sys/module") / name, ignored)) {
            return std::string(name);
        }
    }
    return {};
}

bool KvmProbe::usable() const {
    return open_error == 0 && api_version == KVM_API_VERSION && create_error == 0 &&
           std::ranges::all_of(capabilities, &KvmCapability::present);
}

KvmProbe probe_kvm() {
    KvmProbe probe;
    const FileDescriptor kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
    if (kvm.get() < 0) {
        probe.open_error = errno;
        return probe;
    }
    probe.api_version = ::ioctl(kvm.get(), KVM_GET_API_VERSION, 0);
    for (const Needed& needed : kNeeded) {
        const int value = ::ioctl(kvm.get(), KVM_CHECK_EXTENSION, needed.number);
        probe.capabilities.push_back(
            {std::string(needed.name), std::string(needed.purpose), value > 0 && (value & needed.bits) == needed.bits});
    }
    probe.create_error = create_error(kvm.get());
    probe.flavour = kvm_flavour();
    return probe;
}

}  // namespace understudy::engine
