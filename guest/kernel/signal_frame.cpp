#include "guest/kernel/signal_frame.hpp"

#include <cstring>

#include "guest/kernel/signals.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

constexpr int kOnStack = 1;
constexpr int kDisabled = 2;
struct AlternateStack {
    std::uint64_t base;
    std::int32_t flags;
    std::uint64_t size;
};
constexpr std::uint64_t kMinimumAlternateStack = 2048;

// The general registers of a ucontext_t, in the order of its `gregs`, with what follows them.
struct Context {
    std::uint64_t flags;
    std::uint64_t link;
    AlternateStack stack;
    std::uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
    std::uint16_t cs, gs, fs, ss;
    std::uint64_t error, trap, old_mask, fault_address;
    std::uint64_t fpu;
    std::uint64_t reserved[8];
    std::uint64_t mask;
};

// What a handler finds on its stack, lowest address first; the FXSAVE image lies above, at a 64-byte boundary.
struct SignalFrame {
    std::uint64_t return_address;
    Context context;
    SignalInfo info;
};
constexpr std::size_t kFpuSize = 512;
constexpr std::size_t kRedZone = 128;
constexpr std::uint64_t kUserFlags = 0xcd5;  // CF PF AF ZF SF DF OF

AlternateStack alternate{0, kDisabled, 0};

bool on_alternate_stack(std::uint64_t stack_pointer) {
    return (alternate.flags & kDisabled) == 0 && stack_pointer > alternate.base &&
           stack_pointer <= alternate.base + alternate.size;
}

}  // namespace

void enter_handler(Frame& frame, const SignalAction& action, const SignalInfo& info, std::uint64_t mask) {
    std::uint64_t stack = frame.rsp - kRedZone;
    if ((action.flags & SA_ONSTACK) != 0 && (alternate.flags & kDisabled) == 0 && !on_alternate_stack(frame.rsp)) {
        stack = alternate.base + alternate.size;
    }
    const std::uint64_t fpu = (stack - kFpuSize) & ~std::uint64_t{63};
    // As if called: the stack is 16-byte aligned below the return address.
    const std::uint64_t place = ((fpu - sizeof(SignalFrame)) & ~std::uint64_t{15}) - 8;
    auto* out = reinterpret_cast<SignalFrame*>(place);
    if (!accessible(out, stack - place)) {
        kill_program(SIGSEGV);
    }
    understudy_save_fpu(reinterpret_cast<void*>(fpu));
    std::memset(out, 0, sizeof *out);
    out->return_address = (action.flags & SA_RESTORER) != 0
                              ? action.restorer
                              : reinterpret_cast<std::uint64_t>(&understudy_signal_return);
    out->info = info;
    Context& context = out->context;
    context.stack = alternate;
    context.r8 = frame.r8;
    context.r9 = frame.r9;
    context.r10 = frame.r10;
    context.r11 = frame.r11;
    context.r12 = frame.r12;
    context.r13 = frame.r13;
    context.r14 = frame.r14;
    context.r15 = frame.r15;
    context.rdi = frame.rdi;
    context.rsi = frame.rsi;
    context.rbp = frame.rbp;
    context.rbx = frame.rbx;
    context.rdx = frame.rdx;
    context.rax = frame.rax;
    context.rcx = frame.rcx;
    context.rsp = frame.rsp;
    context.rip = frame.rip;
    context.rflags = frame.rflags;
    context.cs = abi::kCodeSelector;
    context.ss = abi::kDataSelector;
    context.fpu = fpu;
    context.mask = mask;

    frame.rdi = static_cast<std::uint64_t>(info.signal);
    frame.rsi = reinterpret_cast<std::uint64_t>(&out->info);
    frame.rdx = reinterpret_cast<std::uint64_t>(&context);
    frame.rax = 0;
    frame.rsp = place;
    frame.rip = action.handler;
    frame.rflags = 0x202;
}

Result sys_sigaltstack(const void* user_wanted, void* user_old, Frame& frame) {
    const auto* wanted = static_cast<const AlternateStack*>(user_wanted);
    auto* old = static_cast<AlternateStack*>(user_old);
    if ((wanted != nullptr && !accessible(wanted)) || (old != nullptr && !accessible(old))) {
        return failure(EFAULT);
    }
    const AlternateStack before{alternate.base, alternate.flags | (on_alternate_stack(frame.rsp) ? kOnStack : 0),
                                alternate.size};
    if (wanted != nullptr) {
        if (on_alternate_stack(frame.rsp)) {
            return failure(EPERM);
        }
        if ((wanted->flags & ~(kDisabled | kOnStack)) != 0) {
            return failure(EINVAL);
        }
        if ((wanted->flags & kDisabled) == 0 && wanted->size < kMinimumAlternateStack) {
            return failure(ENOMEM);
        }
        alternate = (wanted->flags & kDisabled) != 0 ? AlternateStack{0, kDisabled, 0}
                                                     : AlternateStack{wanted->base, 0, wanted->size};
    }
    if (old != nullptr) {
        *old = before;
    }
    return 0;
}

Result sys_rt_sigreturn(Frame& frame) {
    // RET took the return address: the frame begins below the stack pointer.
    const auto* in = reinterpret_cast<const SignalFrame*>(frame.rsp - sizeof(std::uint64_t));
    if (!accessible(in) || in->context.fpu % 16 != 0 ||
        !accessible(reinterpret_cast<const void*>(in->context.fpu), kFpuSize)) {
        kill_program(SIGSEGV);
    }
    const Context& context = in->context;
    understudy_restore_fpu(reinterpret_cast<const void*>(context.fpu));
    signal_state().blocked = context.mask & ~kUnblockable;
    frame.r8 = context.r8;
    frame.r9 = context.r9;
    frame.r10 = context.r10;
    frame.r11 = context.r11;
    frame.r12 = context.r12;
    frame.r13 = context.r13;
    frame.r14 = context.r14;
    frame.r15 = context.r15;
    frame.rdi = context.rdi;
    frame.rsi = context.rsi;
    frame.rbp = context.rbp;
    frame.rbx = context.rbx;
    frame.rdx = context.rdx;
    frame.rcx = context.rcx;
    frame.rsp = context.rsp;
    frame.rip = context.rip;
    frame.rflags = (context.rflags & kUserFlags) | 0x202;
    frame.number = kNotASystemCall;
    return static_cast<std::int64_t>(context.rax);
}

}  // namespace understudy::kernel
