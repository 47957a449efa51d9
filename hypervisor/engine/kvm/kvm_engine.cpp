#include "hypervisor/engine/kvm/kvm_engine.hpp"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include "common/digest.hpp"
#include "common/error.hpp"
#include "common/file_descriptor.hpp"
#include "common/mapping.hpp"
#include "hypervisor/engine/kvm/exit.hpp"
#include "hypervisor/engine/kvm/memory_slot.hpp"
#include "hypervisor/engine/kvm/probe.hpp"
#include "hypervisor/engine/x86.hpp"

namespace understudy::engine {
namespace {

constexpr std::uint64_t kCr0 = x86::kCr0ProtectionEnable | x86::kCr0MonitorCoprocessor | x86::kCr0ExtensionType |
                               x86::kCr0NumericError | x86::kCr0WriteProtect | x86::kCr0Paging;
constexpr std::uint64_t kCr4 = x86::kCr4PageSizeExtensions | x86::kCr4PhysicalAddressExtension |
                               x86::kCr4PageGlobalEnable | x86::kCr4OsFxsr | x86::kCr4OsXmmExceptions |
                               x86::kCr4FsGsBase;
constexpr std::uint64_t kEfer =
    x86::kEferSyscall | x86::kEferLongModeEnable | x86::kEferLongModeActive | x86::kEferNoExecuteEnable;
constexpr std::uint64_t kSyscallClearsFlags =
    x86::kFlagTrap | x86::kFlagInterrupt | x86::kFlagDirection | x86::kFlagNestedTask;

constexpr std::uint32_t kStateVersion = 2;

int kick_signal() {
    return SIGRTMIN + 1;
}

FileDescriptor open_kvm() {
    const int fd = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        const int error = errno;
        if (error == ENOENT) {
            throw Error(
                "/dev/kvm does not exist; load the kvm module for this CPU (modprobe kvm_intel or kvm_amd), "
                "or enable virtualization in the firmware");
        }
        if (error == EACCES || error == EPERM) {
            throw Error(
                "no permission for /dev/kvm; join the kvm group (usermod -aG kvm $USER, then log in again) or "
                "run as root");
        }
        throw Error::from_errno("/dev/kvm", error);
    }
    return FileDescriptor(fd);
}

template <typename... Args>
int call(const char* what, int fd, unsigned long request, Args... args) {
    const int result = ::ioctl(fd, request, args...);
    if (result < 0) {
        throw Error::from_errno(fmt::format("KVM refuses {}", what), errno);
    }
    return result;
}

// The kernel's header declares tables that end in flexible arrays, to which C++ gives another size than C, and with it
// another request number. These are the same structures and requests with the sizes that the kernel knows.
template <typename Entry, std::size_t kEntries>
struct Table {
    std::uint32_t count = kEntries;
    std::uint32_t reserved = 0;
    std::array<Entry, kEntries> entries{};
};
struct TableHead {
    std::uint32_t count;
    std::uint32_t reserved;
};
using XsaveArea = std::array<std::uint32_t, 1024>;
using CpuidTable = Table<kvm_cpuid_entry2, 128>;
// How SYSCALL enters the guest.
constexpr std::array kSyscallMsrs = {x86::kMsrStar, x86::kMsrLstar, x86::kMsrSyscallMask};
using SyscallRegisters = std::array<std::uint64_t, kSyscallMsrs.size()>;
using MsrTable = Table<kvm_msr_entry, kSyscallMsrs.size()>;
constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, TableHead);
constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, TableHead);
constexpr unsigned long kSetMsrs = _IOW(KVMIO, 0x89, TableHead);
constexpr unsigned long kGetXsave = _IOR(KVMIO, 0xa4, XsaveArea);
constexpr unsigned long kSetXsave = _IOW(KVMIO, 0xa5, XsaveArea);

// What save() writes: fixed layout, host endian, read by the same engine only.
struct SavedState {
    std::uint32_t version = kStateVersion;
    std::uint32_t size = sizeof(SavedState);
    kvm_regs regs{};
    kvm_sregs sregs{};
    XsaveArea xsave{};
    SyscallRegisters syscall_registers{};
};

kvm_segment segment(const x86::SegmentDescriptor& descriptor, std::uint16_t selector) {
    kvm_segment segment{};
    segment.base = descriptor.base;
    // A loaded segment's limit counts bytes.
    segment.limit = descriptor.page_granular ? descriptor.limit << 12 | 0xfff : descriptor.limit;
    segment.selector = selector;
    segment.type = descriptor.type;
    segment.present = 1;
    segment.dpl = descriptor.privilege;
    segment.db = descriptor.default_32_bit;
    segment.s = descriptor.code_or_data;
    segment.l = descriptor.long_code;
    segment.g = descriptor.page_granular;
    return segment;
}

// Without hardware virtualization.
bool runs_on_the_processor(std::string_view flavour) {
    return flavour == "kvm_pvm";
}

class KvmEngine final : public Engine {
  public:
    KvmEngine(std::shared_ptr<const FileDescriptor> kvm, std::span<std::byte> memory, const BootState& boot);

    [[nodiscard]] std::string name() const override { return kKvmEngineName; }
    Exit run() override;
    void complete() override;
    [[nodiscard]] const Registers& registers() const override { return registers_; }
    void set_registers(const Registers& registers) override;
    void enter_ring3(const Registers& registers) override;
    void set_page_table(std::uint64_t address) override;
    void flush_tlb() override;
    [[nodiscard]] std::uint64_t fault_address() override;
    [[nodiscard]] bool interruptible() override;
    bool track_writes(bool on) override { return memory_.track_writes(on); }
    [[nodiscard]] std::vector<std::uint64_t> written_pages() override { return memory_.written_pages(); }
    void forget_writes(std::span<const std::uint64_t> pages) override { memory_.forget_writes(pages); }
    void forget_translations() override;
    [[nodiscard]] std::vector<std::byte> save() override;
    void restore(std::span<const std::byte> state) override;
    [[nodiscard]] std::uint64_t extended_state_digest() override;
    void kick() override;

  private:
    void boot_vcpu();
    void set_syscall_registers(const SyscallRegisters& values);
    void load_registers();
    void write_edited_registers();
    kvm_sregs& edited_special_registers();
    void forget_data_selectors(kvm_sregs& sregs) const;
    void mend_task_segment(kvm_sregs& sregs) const;
    int enter();
    // The one field of the run area that both threads write.
    std::atomic_ref<std::uint8_t> immediate_exit() { return std::atomic_ref(shared().immediate_exit); }
    kvm_run& shared() { return *reinterpret_cast<kvm_run*>(run_area_.data()); }
    kvm_sregs special_registers();

    std::shared_ptr<const FileDescriptor> kvm_;
    FileDescriptor vm_;
    MemorySlot memory_;
    FileDescriptor vcpu_;
    Mapping run_area_;
    BootState boot_;
    kvm_segment code_segment_{};
    kvm_segment data_segment_{};
    Registers registers_;
    SyscallRegisters syscall_registers_{};
    bool port_pending_ = false;
    bool disables_counter_ = false;
    bool has_available_tss_ = false;
    bool tracks_data_selectors_ = true;
    std::atomic<pid_t> thread_{0};
    std::atomic<bool> kick_pending_{false};
};

KvmEngine::KvmEngine(std::shared_ptr<const FileDescriptor> kvm, std::span<std::byte> memory, const BootState& boot)
    : kvm_(std::move(kvm)),
      vm_(call("to create a VM", kvm_->get(), KVM_CREATE_VM, 0)),
      memory_(vm_.get(), memory),
      vcpu_([&] {
          if (call("its version", kvm_->get(), KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
              throw Error("/dev/kvm speaks another API version than 12; use a Linux kernel of this decade");
          }
          constexpr int kNeeded = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
          const int sync = ::ioctl(kvm_->get(), KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS);
          if (sync < 0 || (sync & kNeeded) != kNeeded ||
              ::ioctl(kvm_->get(), KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) <= 0) {
              throw Error("/dev/kvm lacks KVM_CAP_SYNC_REGS or KVM_CAP_IMMEDIATE_EXIT; use Linux 4.18 or later");
          }
          // Needed by hosts that run real mode through a task segment; others ignore it.
          ::ioctl(vm_.get(), KVM_SET_TSS_ADDR, 0xfffbd000UL);
          return call("to create a vCPU", vm_.get(), KVM_CREATE_VCPU, 0);
      }()),
      boot_(boot) {
    const int size = call("the size of its run area", kvm_->get(), KVM_GET_VCPU_MMAP_SIZE, 0);
    run_area_ = Mapping::shared(vcpu_.get(), static_cast<std::size_t>(size));
    if (!run_area_) {
        throw Error::from_errno("cannot map the vCPU's run area", errno);
    }
    disables_counter_ = boot_.traps_counter && runs_on_the_processor(kvm_flavour());
    struct sigaction action {};
    action.sa_handler = [](int) {};  // its only effect is that KVM_RUN returns
    ::sigaction(kick_signal(), &action, nullptr);
    has_available_tss_ = kvm_flavour() == "kvm_amd";
    tracks_data_selectors_ = kvm_flavour() != "kvm_pvm";
    boot_vcpu();
}

void KvmEngine::boot_vcpu() {
    CpuidTable cpuid;
    call("its CPUID table", kvm_->get(), kGetSupportedCpuid, &cpuid);
    call("a CPUID table", vcpu_.get(), kSetCpuid2, &cpuid);

    kvm_sregs sregs{};
    call("to read special registers", vcpu_.get(), KVM_GET_SREGS, &sregs);
    sregs.cr0 = kCr0;
    sregs.cr3 = boot_.page_table;
    sregs.cr4 = boot_.traps_counter ? kCr4 | x86::kCr4TimeStampDisable : kCr4;
    sregs.efer = kEfer;
    code_segment_ = segment(x86::code_segment(3), boot_.code_selector);
    data_segment_ = segment(x86::data_segment(3), boot_.data_selector);
    sregs.cs = code_segment_;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data_segment_;
    sregs.gdt.base = boot_.gdt;
    sregs.gdt.limit = boot_.gdt_size;
    sregs.idt.base = boot_.idt;
    sregs.idt.limit = boot_.idt_size;
    const x86::SegmentDescriptor tss{
        .base = boot_.tss, .limit = boot_.tss_size, .type = x86::kBusyTss, .code_or_data = false};
    sregs.tr = segment(tss, boot_.tss_selector);
    mend_task_segment(sregs);
    call("the long-mode registers", vcpu_.get(), KVM_SET_SREGS, &sregs);

    set_syscall_registers({static_cast<std::uint64_t>(boot_.data_selector - 8) << 48 |
                               static_cast<std::uint64_t>(boot_.syscall_stub_selector) << 32,
                           boot_.syscall_stub, kSyscallClearsFlags});
    shared().kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
    set_registers(boot_.registers);
}

void KvmEngine::set_syscall_registers(const SyscallRegisters& values) {
    MsrTable msrs;
    for (std::size_t i = 0; i < values.size(); ++i) {
        msrs.entries[i].index = kSyscallMsrs[i];
        msrs.entries[i].data = values[i];
    }
    if (call("the SYSCALL registers", vcpu_.get(), kSetMsrs, &msrs) != static_cast<int>(values.size())) {
        throw Error("KVM does not take the SYSCALL registers (STAR, LSTAR, FMASK) on this host");
    }
    syscall_registers_ = values;
}

void KvmEngine::load_registers() {
    const kvm_regs& regs = shared().s.regs.regs;
    registers_.general = {regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi,
                          regs.r8,  regs.r9,  regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15};
    registers_.rip = regs.rip;
    registers_.rflags = regs.rflags;
}

void KvmEngine::set_registers(const Registers& registers) {
    registers_ = registers;
    const auto& g = registers_.general;
    kvm_regs& regs = shared().s.regs.regs;
    regs = kvm_regs{.rax = g[0],
                    .rbx = g[3],
                    .rcx = g[1],
                    .rdx = g[2],
                    .rsi = g[6],
                    .rdi = g[7],
                    .rsp = g[4],
                    .rbp = g[5],
                    .r8 = g[8],
                    .r9 = g[9],
                    .r10 = g[10],
                    .r11 = g[11],
                    .r12 = g[12],
                    .r13 = g[13],
                    .r14 = g[14],
                    .r15 = g[15],
                    .rip = registers_.rip,
                    .rflags = registers_.rflags | kInitialRflags};
    shared().kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

kvm_sregs KvmEngine::special_registers() {
    write_edited_registers();
    kvm_sregs sregs{};
    call("to read special registers", vcpu_.get(), KVM_GET_SREGS, &sregs);
    return sregs;
}

void KvmEngine::enter_ring3(const Registers& registers) {
    kvm_sregs sregs = special_registers();
    mend_task_segment(sregs);
    sregs.cs = code_segment_;
    sregs.ss = data_segment_;
    shared().s.regs.sregs = sregs;
    shared().kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
    set_registers(registers);
}

Exit KvmEngine::run() {
    if (thread_.load(std::memory_order_relaxed) == 0) {
        thread_ = static_cast<pid_t>(::syscall(SYS_gettid));
    }
    // kick() sets kick_pending_ before immediate_exit: one that comes before the exchange is seen by it, one that comes
    // later finds immediate_exit cleared and makes KVM_RUN return.
    immediate_exit() = 0;
    if (kick_pending_.exchange(false)) {
        return Kicked{};
    }
    const int result = enter();
    port_pending_ = false;
    if (result < 0 && errno != EINTR && errno != EAGAIN) {
        throw Error::from_errno("KVM cannot run the guest", errno);
    }
    load_registers();
    if (result < 0) {
        kick_pending_ = false;
        return Kicked{};
    }
    Exit exit = exit_of(shared());
    port_pending_ = std::holds_alternative<PortOut>(exit) || std::holds_alternative<AbsentPort>(exit);
    if (std::holds_alternative<AbsentPort>(exit) && shared().io.direction == KVM_EXIT_IO_IN) {
        const std::size_t bytes = std::size_t{shared().io.size} * shared().io.count;
        std::memset(
            run_area_.data() + shared().io.data_offset, 0xff,
            std::min(bytes, run_area_.size() - std::min<std::size_t>(shared().io.data_offset, run_area_.size())));
    }
    return exit;
}

void KvmEngine::complete() {
    if (!port_pending_) {
        return;
    }
    immediate_exit() = 1;
    const int result = ::ioctl(vcpu_.get(), KVM_RUN, 0);
    if (result == 0 || errno != EINTR) {
        throw Error("KVM did not complete an OUT instruction by itself");
    }
    port_pending_ = false;
    load_registers();
}

// A KVM without hardware virtualization runs the guest's RDTSC on the processor as this thread would: it traps where
// this thread's does. Then KVM looks at the guest's CR4.TSD.
int KvmEngine::enter() {
    if (!disables_counter_) {
        return ::ioctl(vcpu_.get(), KVM_RUN, 0);
    }
    ::prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
    const int result = ::ioctl(vcpu_.get(), KVM_RUN, 0);
    const int error = errno;
    ::prctl(PR_SET_TSC, PR_TSC_ENABLE);
    errno = error;
    return result;
}

// The special registers as the last exit left them, for an edit that the next entry takes over.
kvm_sregs& KvmEngine::edited_special_registers() {
    shared().kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
    mend_task_segment(shared().s.regs.sregs);
    return shared().s.regs.sregs;
}

// kvm_pvm says of data segments what it began with, whatever the guest has loaded, which is null: another KVM would
// load what it says, and the guest's kernel keeps what it finds there.
void KvmEngine::forget_data_selectors(kvm_sregs& sregs) const {
    if (!tracks_data_selectors_) {
        for (kvm_segment* const segment : {&sregs.ds, &sregs.es, &sregs.fs, &sregs.gs}) {
            segment->selector = 0;
        }
    }
}

// An emulated AMD processor (QEMU without KVM) grants ports by a task segment only where that is not marked busy, as it
// is behind LTR. KVM shows every one as busy. Processors do not look.
void KvmEngine::mend_task_segment(kvm_sregs& sregs) const {
    if (has_available_tss_) {
        sregs.tr.type = x86::kAvailableTss;
    }
}

void KvmEngine::set_page_table(std::uint64_t address) {
    edited_special_registers().cr3 = address;
}

// KVM forgets its translations of a guest whose CR4.PGE changes.
void KvmEngine::flush_tlb() {
    edited_special_registers().cr4 ^= x86::kCr4PageGlobalEnable;
}

std::uint64_t KvmEngine::fault_address() {
    return shared().s.regs.sregs.cr2;
}

bool KvmEngine::interruptible() {
    kvm_vcpu_events events{};
    call("to read pending events", vcpu_.get(), KVM_GET_VCPU_EVENTS, &events);
    return !port_pending_ && events.exception.injected == 0 && events.exception.pending == 0 &&
           events.interrupt.injected == 0 && events.nmi.injected == 0;
}

// Of the guest's page tables that it keeps itself, by the slot; of those in the processor, by CR4.
void KvmEngine::forget_translations() {
    memory_.recreate();
    kvm_sregs sregs = special_registers();
    mend_task_segment(sregs);
    sregs.cr4 ^= x86::kCr4PageGlobalEnable;
    call("special registers", vcpu_.get(), KVM_SET_SREGS, &sregs);
    sregs.cr4 ^= x86::kCr4PageGlobalEnable;
    call("special registers", vcpu_.get(), KVM_SET_SREGS, &sregs);
}

// Edited registers reach the vCPU at the next entry; whoever reads it before that wants them now.
void KvmEngine::write_edited_registers() {
    kvm_run& run = shared();
    if ((run.kvm_dirty_regs & KVM_SYNC_X86_SREGS) != 0) {
        call("special registers", vcpu_.get(), KVM_SET_SREGS, &run.s.regs.sregs);
    }
    if ((run.kvm_dirty_regs & KVM_SYNC_X86_REGS) != 0) {
        call("registers", vcpu_.get(), KVM_SET_REGS, &run.s.regs.regs);
    }
    run.kvm_dirty_regs = 0;
}

std::vector<std::byte> KvmEngine::save() {
    complete();
    write_edited_registers();
    SavedState state;
    call("to read registers", vcpu_.get(), KVM_GET_REGS, &state.regs);
    state.sregs = special_registers();
    forget_data_selectors(state.sregs);
    call("to read the FPU", vcpu_.get(), kGetXsave, &state.xsave);
    state.syscall_registers = syscall_registers_;
    const auto bytes = std::as_bytes(std::span(&state, 1));
    return {bytes.begin(), bytes.end()};
}

void KvmEngine::restore(std::span<const std::byte> bytes) {
    SavedState state;
    if (bytes.size() != sizeof state) {
        throw Error("the vCPU state has the wrong size; it comes from another engine or version");
    }
    std::memcpy(&state, bytes.data(), sizeof state);
    if (state.version != kStateVersion || state.size != sizeof state) {
        throw Error("the vCPU state is of another version");
    }
    mend_task_segment(state.sregs);
    call("special registers", vcpu_.get(), KVM_SET_SREGS, &state.sregs);
    call("the FPU state", vcpu_.get(), kSetXsave, &state.xsave);
    set_syscall_registers(state.syscall_registers);
    shared().s.regs.regs = state.regs;
    shared().kvm_dirty_regs = KVM_SYNC_X86_REGS;
    port_pending_ = false;
    load_registers();
}

std::uint64_t KvmEngine::extended_state_digest() {
    const kvm_sregs sregs = special_registers();
    XsaveArea xsave{};
    call("to read the FPU", vcpu_.get(), kGetXsave, &xsave);
    // The legacy region without its reserved tail: x87, MXCSR, XMM. Its first 24 bytes hold control words and pointers
    // of the last x87 instruction; MXCSR_MASK (bytes 28-31) is the processor's, not the program's.
    constexpr std::size_t kRegistersAt = 32;
    constexpr std::size_t kRegistersEnd = 416;
    const auto legacy = std::as_bytes(std::span(xsave));
    std::uint64_t result = digest(legacy.first(4));
    result = digest(legacy.subspan(24, 4), result);
    result = digest(legacy.subspan(kRegistersAt, kRegistersEnd - kRegistersAt), result);
    const std::array<std::uint64_t, 2> bases = {sregs.fs.base, sregs.gs.base};
    return digest(std::as_bytes(std::span(bases)), result);
}

void KvmEngine::kick() {
    kick_pending_ = true;
    immediate_exit() = 1;
    if (const pid_t thread = thread_.load(); thread != 0) {
        ::syscall(SYS_tgkill, ::getpid(), thread, kick_signal());
    }
}

}  // namespace

KvmEngines::KvmEngines() : kvm_(std::make_shared<const FileDescriptor>(open_kvm())) {}

std::unique_ptr<Engine> KvmEngines::operator()(std::span<std::byte> memory, const BootState& boot) const {
    return std::make_unique<KvmEngine>(kvm_, memory, boot);
}

}  // namespace understudy::engine
