#include "guest/pv/layer.hpp"

namespace understudy::pv {

// A kick lowers cell and armed together between any two instructions: the pair is read again until it stood still, and
// no register keeps a raw value of it (docs/guest-abi.md).
u64 clock_now() {
    u64 counted = 0;
    u64 raw = 0;
    __asm__ volatile(
        "1:\tmovq 8(%2), %1\n\t"
        "movq %1, %0\n\t"
        "subq (%2), %0\n\t"
        "cmpq 8(%2), %1\n\t"
        "jne 1b\n\t"
        "xorl %k1, %k1"
        : "=&r"(counted), "=&r"(raw)
        : "r"(&control())
        : "memory", "cc");
    static_assert(offsetof(understudy_control, cell) == 0 && offsetof(understudy_control, armed) == 8);
    return control().clock_ns + (counted >> UNDERSTUDY_CLOCK_SHIFT);
}

// Xen's clock is the counter, scaled, from a point on. Here RDTSC is the clock in nanoseconds: nothing is to be scaled.
void start_clock() {
    shared_info_t& shared = shared_info();
    vcpu_time_info_t& time = shared.vcpu_info[0].time;
    time.version = 2;
    time.tsc_to_system_mul = 0x80000000;
    time.tsc_shift = 1;
    time.flags = XEN_PVCLOCK_TSC_STABLE_BIT;
    constexpr u64 kNanosecondsPerSecond = 1'000'000'000;
    shared.wc_version = 2;
    shared.wc_sec = static_cast<u32>(control().realtime_offset_ns / kNanosecondsPerSecond);
    shared.wc_nsec = static_cast<u32>(control().realtime_offset_ns % kNanosecondsPerSecond);
}

}  // namespace understudy::pv
