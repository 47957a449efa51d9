#include "guest/toolchain/native_control_page.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace understudy::toolchain {
namespace {

constexpr std::size_t kPageSize = 4096;

volatile abi::Control& control() {
    return *reinterpret_cast<volatile abi::Control*>(abi::kControlBase);  // NOLINT(performance-no-int-to-ptr)
}

std::function<void()>& trap_handler() {
    static std::function<void()> handler;
    return handler;
}

}  // namespace

extern "C" void understudy_native_trap() {
    trap_handler()();
}

// Keeps every register, as the guest kernel's trap does, but for the flags: counted code gives them up. To prove that
// it does, they come back inverted.
extern "C" [[gnu::naked]] void understudy_native_trap_entry() {
    asm volatile(
        "pushfq\n\t"
        "push %rax\n\tpush %rcx\n\tpush %rdx\n\tpush %rbx\n\tpush %rbp\n\tpush %rsi\n\tpush %rdi\n\t"
        "push %r8\n\tpush %r9\n\tpush %r10\n\tpush %r11\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n\t"
        "mov %rsp, %rbp\n\t"
        "and $-64, %rsp\n\t"
        "sub $512, %rsp\n\t"
        "fxsave64 (%rsp)\n\t"
        "call understudy_native_trap\n\t"
        "fxrstor64 (%rsp)\n\t"
        "mov %rbp, %rsp\n\t"
        "pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %r11\n\tpop %r10\n\tpop %r9\n\tpop %r8\n\t"
        "pop %rdi\n\tpop %rsi\n\tpop %rbp\n\tpop %rbx\n\tpop %rdx\n\tpop %rcx\n\tpop %rax\n\t"
        "xorq $0x8d5, (%rsp)\n\t"  // OF SF ZF AF PF CF
        "popfq\n\t"
        "ret");
}

NativeControlPage::NativeControlPage() {
    void* const place = reinterpret_cast<void*>(abi::kControlBase);  // NOLINT(performance-no-int-to-ptr)
    if (mmap(place, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
        MAP_FAILED) {
        throw std::system_error(errno, std::generic_category(),
                                "cannot map the control page at 0x40000 (vm.mmap_min_addr must not be above it)");
    }
    on_trap([this] { arm(kEndless); });
    control().trap_entry = reinterpret_cast<std::uint64_t>(&understudy_native_trap_entry);
    arm(kEndless);
}

NativeControlPage::~NativeControlPage() {
    munmap(reinterpret_cast<void*>(abi::kControlBase), kPageSize);  // NOLINT(performance-no-int-to-ptr)
    trap_handler() = nullptr;
}

void NativeControlPage::arm(std::int64_t budget) {
    control().armed = budget;
    control().cell = budget;
}

std::int64_t NativeControlPage::counted() const {
    return control().armed - control().cell;
}

void NativeControlPage::kick() {
    const std::int64_t left = control().cell;
    if (left > 0) {
        control().armed = control().armed - left;
        control().cell = 0;
    }
}

void NativeControlPage::on_trap(std::function<void()> handler) {
    trap_handler() = std::move(handler);
}

}  // namespace understudy::toolchain
