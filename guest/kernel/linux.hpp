// Constants and structures of the Linux x86-64 system-call interface that the kernel's public headers (<linux/...>,
// <asm/...>) leave to the C library.
#pragma once

#include <linux/time_types.h>

#include <cstddef>
#include <cstdint>

#include "guest/kernel/clock.hpp"

namespace understudy::kernel {

constexpr std::uint32_t kFileTypeMask = 0170000;
constexpr std::uint32_t kRegularFile = 0100000;
constexpr std::uint32_t kDirectory = 0040000;
constexpr std::uint32_t kSymbolicLink = 0120000;
constexpr std::uint32_t kCharacterDevice = 0020000;
constexpr std::uint32_t kPipe = 0010000;
constexpr std::uint32_t kSocketFile = 0140000;
constexpr std::uint32_t kAnonymousFile = 0;  // eventfd, timerfd, epoll

using Timespec = __kernel_timespec;
struct Timeval {
    std::int64_t tv_sec;
    std::int64_t tv_usec;
};

inline bool valid(const Timespec& time) {
    return time.tv_sec >= 0 && time.tv_nsec >= 0 && time.tv_nsec < static_cast<std::int64_t>(kSecond);
}
// Saturates at kNever; `time` is valid.
inline Nanoseconds nanoseconds(const Timespec& time) {
    const auto seconds = static_cast<std::uint64_t>(time.tv_sec);
    return seconds >= kNever / kSecond ? kNever : seconds * kSecond + static_cast<std::uint64_t>(time.tv_nsec);
}
inline Timespec timespec_of(Nanoseconds time) {
    return {static_cast<std::int64_t>(time / kSecond), static_cast<std::int64_t>(time % kSecond)};
}

inline bool valid(const Timeval& time) {
    return time.tv_sec >= 0 && time.tv_usec >= 0 && time.tv_usec < static_cast<std::int64_t>(kSecond / kMicrosecond);
}
inline Nanoseconds nanoseconds(const Timeval& time) {
    return nanoseconds(Timespec{time.tv_sec, time.tv_usec * static_cast<std::int64_t>(kMicrosecond)});
}
// Cut to whole microseconds.
inline Timeval timeval_of(Nanoseconds time) {
    return {static_cast<std::int64_t>(time / kSecond), static_cast<std::int64_t>(time % kSecond / kMicrosecond)};
}

}  // namespace understudy::kernel
