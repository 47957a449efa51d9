// Computing without a system call: what a monitor can interrupt only between two instructions of which nobody keeps
// count.
#include <emmintrin.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <ctime>
#include <thread>
#include <vector>

#include "guest/programs/torture/caught.hpp"

namespace understudy::torture {
namespace {

// A few hundred milliseconds at the most, on a slow machine.
std::uint64_t turns(Context& context) {
    return context.random.between(1, 30) * 1'000'000;
}

void spin(Context& context) {
    Random random(context.random.next());
    std::uint64_t sum = 0;
    for (std::uint64_t i = turns(context) / 4; i > 0; --i) {
        sum ^= random.next();
    }
    context.seen.add(sum);
}

// Interrupted within one instruction, which then goes on from its registers.
void copy_by_string_instructions(Context& context) {
    constexpr std::size_t kMost = std::size_t{4} << 20U;
    std::vector<char> from(kMost);
    std::vector<char> to(kMost);
    for (std::uint64_t round = context.random.between(1, 60); round > 0; --round) {
        const std::size_t size = context.random.between(1, kMost);
        const char* source = from.data();
        char* target = to.data();
        std::size_t left = size;
        __asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(left) : : "memory");
        target = from.data();
        left = size / 8;
        __asm__ volatile("rep stosq" : "+D"(target), "+c"(left) : "a"(round * 0x0101010101010101) : "memory");
    }
    context.seen.add_bytes(to.data(), 4096);
}

// Values that live in registers all along.
void hold_in_registers(Context& context) {
    std::uint64_t count = turns(context);
    __m128i sum = _mm_set_epi64x(static_cast<long long>(context.random.next()), 1);
    const __m128i step = _mm_set_epi64x(3, static_cast<long long>(context.random.next()));
    double tangent = 0;
    __asm__ volatile(
        "fldpi\n\t"
        "fld1\n"
        "1:\tpaddq %[step], %[sum]\n\t"
        "fadd %%st(0), %%st(1)\n\t"
        "decq %[count]\n\t"
        "jnz 1b\n\t"
        "faddp\n\t"
        "fstpl %[tangent]"
        : [sum] "+x"(sum), [count] "+r"(count), [tangent] "=m"(tangent)
        : [step] "x"(step)
        : "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
    std::array<std::uint64_t, 2> words{};
    std::memcpy(words.data(), &sum, sizeof sum);
    context.seen.add(words[0]);
    context.seen.add(words[1]);
    context.seen.add(tangent);
}

// Many pages, in an order of their own; some for the first time, by a fault.
void write_all_over(Context& context) {
    const std::size_t pages = context.random.between(16, 2048);
    const Pages memory(pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    Random random(context.random.next());
    for (std::uint64_t i = turns(context) / 32; i > 0; --i) {
        const std::uint64_t value = random.next();
        std::memcpy(memory.data() + value % (pages * kPage / 8) * 8, &value, sizeof value);
    }
    context.seen.add_bytes(memory.data(), kPage);
}

// Only an interrupt lets the other thread run, and the other thread alone ends the loop.
void spin_until_another_comes(Context& context) {
    std::atomic<bool> came = false;
    std::uint64_t waited = 0;
    std::thread other([&] { came = true; });
    while (!came.load(std::memory_order_relaxed)) {
        ++waited;
    }
    other.join();
    context.seen.add(waited);
}

std::atomic<std::uint64_t> alarms = 0;

void spin_until_alarms(Context& context) {
    struct sigaction action {};
    action.sa_handler = [](int) { alarms.fetch_add(1, std::memory_order_relaxed); };
    struct sigaction before {};
    sigaction(SIGALRM, &action, &before);
    alarms = 0;
    const auto period = static_cast<suseconds_t>(context.random.between(1000, 30'000));
    const itimerval timer{{0, period}, {0, period}};
    setitimer(ITIMER_REAL, &timer, nullptr);
    std::uint64_t waited = 0;
    for (const std::uint64_t wanted = context.random.between(1, 4); alarms.load(std::memory_order_relaxed) < wanted;) {
        ++waited;
    }
    const itimerval none{};
    setitimer(ITIMER_REAL, &none, nullptr);
    sigaction(SIGALRM, &before, nullptr);
    context.seen.add(waited);
}

// While one thread computes, another changes what is mapped.
void spin_while_another_maps(Context& context) {
    const Pages memory(64 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    std::atomic<bool> over = false;
    std::thread other([&, seed = context.random.next()] {
        Random random(seed);
        for (std::uint64_t i = random.between(1, 12); i > 0; --i) {
            std::uint8_t* const at = memory.data() + random.below(64) * kPage;
            mprotect(at, kPage, PROT_READ);
            const timespec pause{0, static_cast<long>(random.below(3'000'000))};
            nanosleep(&pause, nullptr);
            mprotect(at, kPage, PROT_READ | PROT_WRITE);
            madvise(at, kPage, random.one_in(2) ? MADV_DONTNEED : MADV_NORMAL);
        }
        over = true;
    });
    std::uint64_t sum = 0;
    while (!over.load(std::memory_order_relaxed)) {
        for (std::size_t page = 0; page < 64; ++page) {
            sum += memory.data()[page * kPage];
        }
    }
    other.join();
    context.seen.add(sum);
}

constexpr std::array kOperations = {
    Operation{"spin", spin},
    Operation{"copy-by-string-instructions", copy_by_string_instructions},
    Operation{"hold-in-registers", hold_in_registers},
    Operation{"write-all-over", write_all_over},
    Operation{"spin-until-another-comes", spin_until_another_comes},
    Operation{"spin-until-alarms", spin_until_alarms},
    Operation{"spin-while-another-maps", spin_while_another_maps},
};

}  // namespace

std::span<const Operation> spin_operations() {
    return kOperations;
}

}  // namespace understudy::torture
