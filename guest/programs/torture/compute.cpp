// x87 and SSE: results, environments as they are stored, exceptions.
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cfenv>
#include <cmath>
#include <csignal>
#include <ctime>

#include "guest/programs/torture/caught.hpp"

namespace understudy::torture {
namespace {

// x87 leaves where its last instruction was: a context switch of the host forgets it.
long double x87(Random& random) {
    volatile long double value = 1.0L + static_cast<long double>(random.below(1000));
    for (std::uint64_t i = random.between(1, 200); i > 0; --i) {
        value = sqrtl(value) + static_cast<long double>(i) / 3.0L;
    }
    return value;
}

void long_doubles(Context& context) {
    const auto value = static_cast<double>(x87(context.random));
    context.seen.add(value);
}

void environment(Context& context) {
    x87(context.random);
    alignas(16) std::array<std::uint8_t, 512> area{};
    for (int i = 0; i < 4; ++i) {
        __asm__ volatile("fnstenv %0\n\tfldenv %0" : "=m"(area));
        context.seen.add_bytes(area.data(), 28);
        __asm__ volatile("fnsave %0\n\tfrstor %0" : "=m"(area));
        context.seen.add_bytes(area.data(), 108);
        __asm__ volatile("fxsave64 %0" : "=m"(area));
        context.seen.add_bytes(area.data(), area.size());
        __asm__ volatile("fxsave %0" : "=m"(area));
        context.seen.add_bytes(area.data(), area.size());
        x87(context.random);
        if (context.random.one_in(2)) {
            getppid();
        }
    }
    fenv_t kept;
    feholdexcept(&kept);
    context.seen.add_bytes(&kept, sizeof kept);
    feupdateenv(&kept);
}

// Stored where it crosses from one page into another, which may not be there.
void environment_across_pages(Context& context) {
    const Pages pages(2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    mprotect(pages.data() + kPage, kPage, PROT_NONE);
    std::uint8_t* const at = pages.data() + kPage - context.random.below(120);
    std::uint8_t* const aligned = pages.data() + kPage - 16 * context.random.below(33);
    x87(context.random);
    run_caught(context.seen, [&] { __asm__ volatile("fnsave (%0)" : : "r"(at) : "memory"); });
    run_caught(context.seen, [&] { __asm__ volatile("fnstenv (%0)" : : "r"(at) : "memory"); });
    run_caught(context.seen, [&] { __asm__ volatile("fxsave64 (%0)" : : "r"(aligned) : "memory"); });
    __asm__ volatile("fninit");
    context.seen.add_bytes(pages.data(), kPage);
}

void exceptions(Context& context) {
    const int unmasked = std::array{FE_DIVBYZERO, FE_INVALID, FE_OVERFLOW, FE_INEXACT}[context.random.below(4)];
    const bool old = context.random.one_in(2);
    run_caught(context.seen, [&] {
        feenableexcept(unmasked);
        volatile double zero = 0;
        volatile double huge = 1e300;
        volatile long double old_zero = 0;
        volatile double result = 0;
        if (old) {
            result = static_cast<double>(1.0L / old_zero + old_zero / old_zero);
            __asm__ volatile("fwait");
        } else {
            result = 1.0 / zero + zero / zero + huge * huge;
        }
        context.seen.add(static_cast<double>(result));
    });
    fedisableexcept(FE_ALL_EXCEPT);
    std::fesetenv(FE_DFL_ENV);
    volatile int some = 1;
    volatile int nothing = 0;
    const Caught divided = run_caught(context.seen, [&] { nothing = some / nothing; });
    expect(divided.signal == SIGFPE, "a division by zero raises SIGFPE");
}

// Rounding modes and MXCSR live on across system calls.
void rounding(Context& context) {
    static constexpr std::array kModes = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
    volatile double x = 1.0 / 3.0;
    for (std::uint64_t i = context.random.between(1, 20); i > 0; --i) {
        std::fesetround(kModes[context.random.below(kModes.size())]);
        getppid();
        x = x * 1.1 + 0.1;
        std::uint32_t mxcsr = 0;
        __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
        context.seen.add(mxcsr);
    }
    std::fesetround(FE_TONEAREST);
    context.seen.add(static_cast<double>(x));
}

void clocks(Context& context) {
    for (const clockid_t clock : {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
                                  CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE}) {
        timespec now{};
        clock_gettime(clock, &now);
        context.seen.add(now.tv_sec);
        context.seen.add(now.tv_nsec);
    }
    context.seen.add(__builtin_ia32_rdtsc());
}

// Which processor this is: in a guest always the same, whichever the host runs it on.
void processor(Context& context) {
    unsigned cpu = 1;
    unsigned node = 1;
    expect(getcpu(&cpu, &node) == 0, "getcpu");
    context.seen.add(cpu);
    context.seen.add(node);
    context.seen.add(sched_getcpu());
}

constexpr std::array kOperations = {
    Operation{"long-doubles", long_doubles},
    Operation{"environment", environment},
    Operation{"environment-across-pages", environment_across_pages},
    Operation{"exceptions", exceptions},
    Operation{"rounding", rounding},
    Operation{"clocks", clocks},
    Operation{"processor", processor},
};

}  // namespace

std::span<const Operation> compute_operations() {
    return kOperations;
}

}  // namespace understudy::torture
