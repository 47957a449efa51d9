// Signals that arrive while something else goes on: timers, and what a process sends itself.
#include <poll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <csignal>
#include <ctime>

#include "guest/programs/torture/caught.hpp"

namespace understudy::torture {
namespace {

volatile std::sig_atomic_t arrived = 0;
Checksum frames;

// Computes with what the interrupted code computes with.
void count(int signal, siginfo_t* info, void* context) {
    const auto* const state = static_cast<const ucontext_t*>(context);
    frames.add_bytes(&state->uc_mcontext.gregs, sizeof state->uc_mcontext.gregs);
    if (state->uc_mcontext.fpregs != nullptr) {
        frames.add_bytes(state->uc_mcontext.fpregs, sizeof *state->uc_mcontext.fpregs);
    }
    frames.add(info->si_code);
    volatile long double x = 2.0L + static_cast<long double>(signal);
    x = sqrtl(x);
    arrived = arrived + 1;
}

class Handled {
  public:
    Handled(int signal, int flags) : signal_(signal) {
        struct sigaction action {};
        action.sa_sigaction = count;
        action.sa_flags = SA_SIGINFO | flags;
        sigaction(signal, &action, &before_);
    }
    ~Handled() { sigaction(signal_, &before_, nullptr); }
    Handled(const Handled&) = delete;
    Handled& operator=(const Handled&) = delete;

  private:
    int signal_;
    struct sigaction before_ {};
};

void interval_timer(Context& context) {
    const Handled handled(SIGALRM, 0);
    const auto period = static_cast<suseconds_t>(context.random.between(200, 5000));
    const itimerval timer{{0, period}, {0, period}};
    const int until = arrived + static_cast<int>(context.random.between(1, 6));
    setitimer(ITIMER_REAL, &timer, nullptr);
    volatile long double x = 1.5L;
    std::uint64_t rounds = 0;
    // Every round enters the kernel: that is where a program that nobody counts is interrupted.
    while (arrived < until) {
        for (int i = 0; i < 500; ++i) {
            x = sqrtl(x + 1.0L);
        }
        getppid();
        ++rounds;
    }
    const itimerval off{};
    setitimer(ITIMER_REAL, &off, nullptr);
    context.seen.add(rounds);
    context.seen.add(frames.value());
}

void send_to_self(Context& context) {
    const Handled handled(SIGUSR1, 0);
    const Handled queued(SIGRTMIN + 1, 0);
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGUSR1);
    sigaddset(&both, SIGRTMIN + 1);
    const bool blocked = context.random.one_in(2);
    if (blocked) {
        sigprocmask(SIG_BLOCK, &both, nullptr);
    }
    for (std::uint64_t i = context.random.between(1, 20); i > 0; --i) {
        if (context.random.one_in(2)) {
            kill(getpid(), SIGUSR1);
        } else {
            sigqueue(getpid(), SIGRTMIN + 1, sigval{static_cast<int>(i)});
        }
    }
    sigprocmask(SIG_UNBLOCK, &both, nullptr);
    context.seen.add(static_cast<int>(arrived));
    context.seen.add(frames.value());
}

void timer_file(Context& context) {
    const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    const auto period = static_cast<long>(context.random.between(100'000, 3'000'000));
    const itimerspec every{{0, period}, {0, period}};
    timerfd_settime(timer, 0, &every, nullptr);
    for (std::uint64_t i = context.random.between(1, 5); i > 0; --i) {
        std::uint64_t expirations = 0;
        expect(read(timer, &expirations, sizeof expirations) == sizeof expirations, "a timer can be read");
        context.seen.add(expirations);
    }
    close(timer);
}

void signal_file(Context& context) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    const int file = signalfd(-1, &set, SFD_CLOEXEC);
    raise(SIGUSR2);
    signalfd_siginfo info{};
    expect(read(file, &info, sizeof info) == sizeof info, "a raised signal can be read");
    context.seen.add_bytes(&info, sizeof info);
    close(file);
    sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

void posix_timer(Context& context) {
    const Handled handled(SIGRTMIN + 2, SA_RESTART);
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGRTMIN + 2;
    timer_t timer{};
    expect(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create");
    const auto period = static_cast<long>(context.random.between(100'000, 2'000'000));
    const itimerspec every{{0, period}, {0, period}};
    timer_settime(timer, 0, &every, nullptr);
    for (std::uint64_t i = context.random.between(1, 5); i > 0; --i) {
        const timespec pause{0, static_cast<long>(context.random.below(3'000'000))};
        timespec left{};
        context.seen.add(clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, &left));
        context.seen.add(left.tv_nsec);
    }
    context.seen.add(timer_getoverrun(timer));
    timer_delete(timer);
    context.seen.add(static_cast<int>(arrived));
}

// Waits for a signal, or a time, by nothing but a look at the clock, or at the processor.
void polled(Context& context) {
    const Handled handled(SIGALRM, 0);
    itimerval timer{};
    timer.it_value.tv_usec = static_cast<suseconds_t>(context.random.between(100, 3000));
    const int before = arrived;
    const std::uint64_t way = context.random.below(4);
    std::uint64_t rounds = 0;
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    const std::int64_t end = now.tv_sec * 1'000'000'000 + now.tv_nsec + timer.it_value.tv_usec * 1000;
    if (way != 3) {
        setitimer(ITIMER_REAL, &timer, nullptr);
    }
    for (bool waits = true; waits; ++rounds) {
        if (way == 0) {
            context.seen.add(__builtin_ia32_rdtsc());
        } else if (way == 1) {
            unsigned leaf = 0;
            unsigned subleaf = 0;
            __asm__ volatile("cpuid" : "+a"(leaf), "+c"(subleaf) : : "rbx", "rdx");
        } else {
            clock_gettime(CLOCK_MONOTONIC, &now);
        }
        waits = way == 3 ? now.tv_sec * 1'000'000'000 + now.tv_nsec < end : arrived == before;
    }
    context.seen.add(rounds);
    context.seen.add(now.tv_nsec);
}

// Reads the clock with little of its stack left: whoever is stopped in there needs no more of it than whoever is not.
void clock_at_stacks_end(Context& context) {
    constexpr std::size_t kLeft = 160;
    const Pages pages(2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    std::uint8_t* const top = pages.data() + kPage + kLeft;
    const bool guarded = context.random.one_in(2);
    if (guarded) {
        mprotect(pages.data(), kPage, PROT_NONE);
    }
    timespec now{};
    const Caught caught = run_caught(context.seen, [&] {
        for (std::uint64_t i = context.random.between(20'000, 200'000); i > 0; --i) {
            if (!guarded && i % 64 == 0) {
                madvise(pages.data(), kPage, MADV_DONTNEED);
            }
            long clock = CLOCK_MONOTONIC;
            timespec* time = &now;
            __asm__ volatile(
                "movq %%rsp, %%rbx\n\t"
                "movq %2, %%rsp\n\t"
                "call *%3\n\t"
                "movq %%rbx, %%rsp"
                : "+D"(clock), "+S"(time)
                : "r"(top), "r"(&clock_gettime)
                : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
        }
    });
    expect(caught.signal == 0, "a look at the clock takes little of the stack");
    context.seen.add(now.tv_nsec);
    context.seen.add_bytes(guarded ? top : pages.data(), guarded ? 0 : kPage);
}

constexpr std::array kOperations = {
    Operation{"interval-timer", interval_timer},
    Operation{"send-to-self", send_to_self},
    Operation{"timer-file", timer_file},
    Operation{"signal-file", signal_file},
    Operation{"posix-timer", posix_timer},
    Operation{"polled", polled},
    Operation{"clock-at-stacks-end", clock_at_stacks_end},
};

}  // namespace

std::span<const Operation> signal_operations() {
    return kOperations;
}

}  // namespace understudy::torture
