#include "guest/programs/torture/caught.hpp"

#include <sys/mman.h>
#include <sys/ucontext.h>

#include <array>
#include <csetjmp>
#include <csignal>

namespace understudy::torture {
namespace {

// What a signal handler can reach.
struct Landing {
    sigjmp_buf place{};
    Caught caught;
    Checksum* seen = nullptr;
};
Landing landing;
alignas(16) std::array<std::uint8_t, 65536> alternate_stack;

void land(int signal, siginfo_t* info, void* context) {
    // Flags that a handler inherits, and that would make it fault itself: AC, NT, TF.
    __asm__ volatile("pushfq; andq $~0x44100, (%%rsp); popfq" : : : "memory", "cc");
    const auto* const state = static_cast<const ucontext_t*>(context);
    landing.caught = {signal, info->si_code, reinterpret_cast<std::uint64_t>(info->si_addr)};
    landing.seen->add_bytes(&state->uc_mcontext.gregs, sizeof state->uc_mcontext.gregs);
    if (state->uc_mcontext.fpregs != nullptr) {
        landing.seen->add_bytes(state->uc_mcontext.fpregs, sizeof *state->uc_mcontext.fpregs);
    }
    siglongjmp(landing.place, 1);
}

constexpr std::array kSignals = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};

}  // namespace

Caught run_caught(Checksum& seen, const std::function<void()>& action) {
    stack_t stack{};
    stack.ss_sp = alternate_stack.data();
    stack.ss_size = alternate_stack.size();
    stack_t before_stack{};
    sigaltstack(&stack, &before_stack);
    struct sigaction landing_action {};
    landing_action.sa_sigaction = land;
    // Blocked meanwhile: a handler that faults itself ends the process.
    landing_action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    std::array<struct sigaction, kSignals.size()> before{};
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
        sigaction(kSignals[i], &landing_action, &before[i]);
    }
    landing.caught = {};
    landing.seen = &seen;
    if (sigsetjmp(landing.place, 1) == 0) {
        action();
    }
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
        sigaction(kSignals[i], &before[i], nullptr);
    }
    before_stack.ss_flags &= SS_DISABLE;
    sigaltstack(&before_stack, nullptr);
    seen.add(landing.caught.signal);
    seen.add(landing.caught.code);
    seen.add(landing.caught.address);
    return landing.caught;
}

Pages::Pages(std::size_t bytes, int protection, int flags, int file)
    : data_(static_cast<std::uint8_t*>(mmap(nullptr, bytes, protection, flags, file, 0))), size_(bytes) {
    expect(data_ != MAP_FAILED, "mmap");
}
Pages::~Pages() {
    munmap(data_, size_);
}

}  // namespace understudy::torture
