// The program's registers while the kernel runs, as entry.S saves them, and what entry.S offers to C++.
#pragma once

#include <cstdint>

namespace understudy::kernel {

struct Frame {
    std::uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    std::uint64_t number;  // of the system call; kNotASystemCall at an interrupt
    std::uint64_t rip;
    std::uint64_t rflags;
    std::uint64_t rsp;
    std::uint64_t padding;  // keeps the kernel's stack 16-byte aligned
};
constexpr std::uint64_t kNotASystemCall = ~0ULL;

}  // namespace understudy::kernel

extern "C" {
void understudy_start();
void understudy_syscall_entry();
void understudy_trap_entry();
void understudy_signal_return();
[[noreturn]] void understudy_resume(understudy::kernel::Frame* frame);
[[noreturn]] void understudy_panic_stop();

// Nanoseconds since boot.
std::uint64_t understudy_clock();

// 512 bytes at a 16-byte boundary: FXSAVE's image.
void understudy_save_fpu(void* image);
void understudy_restore_fpu(const void* image);
void understudy_write_fs_base(std::uint64_t base);
void understudy_write_gs_base(std::uint64_t base);

extern std::uint8_t understudy_in_kernel;
extern volatile std::uint8_t understudy_interrupt_pending;

// Called by entry.S.
[[noreturn]] void understudy_main();
void understudy_handle_syscall(understudy::kernel::Frame* frame);
void understudy_handle_interrupt(understudy::kernel::Frame* frame);
}
