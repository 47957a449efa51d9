// poll and select: each asks every file anew after every event.
#include <asm/poll.h>

#include <bit>
#include <cstring>

#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/events.hpp"
#include "guest/kernel/signals.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

std::int64_t poll_once(pollfd* entries, std::uint64_t count) {
    std::int64_t ready = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        pollfd& entry = entries[i];
        entry.revents = 0;
        if (entry.fd < 0) {
            continue;
        }
        const File* file = descriptors().find(entry.fd);
        const auto asked = static_cast<std::uint32_t>(static_cast<std::uint16_t>(entry.events)) | POLLERR | POLLHUP;
        const std::uint32_t bits = file == nullptr ? POLLNVAL : file->ready() & asked;
        entry.revents = static_cast<short>(bits);
        ready += bits != 0 ? 1 : 0;
    }
    return ready;
}

Result poll_entries(pollfd* entries, std::uint64_t count, Nanoseconds timeout) {
    if (count > descriptors().limit()) {
        return failure(EINVAL);
    }
    if (!accessible(entries, count * sizeof *entries)) {
        return failure(EFAULT);
    }
    std::int64_t ready = 0;
    const Wake wake = wait_until(
        [&] {
            ready = poll_once(entries, count);
            return ready != 0;
        },
        timeout == kNever ? kNever : after(now(), timeout));
    return wake == Wake::interrupted ? failure(EINTR) : Result(ready);
}

constexpr int kMaxSelected = 1024;  // FD_SETSIZE
constexpr int kBitsPerWord = 64;

// The sets of one select call, copied in; answered in place.
struct Selection {
    static constexpr int kSets = 3;
    static constexpr std::uint32_t kBits[kSets] = {POLLIN | POLLRDNORM | POLLHUP | POLLERR,
                                                   POLLOUT | POLLWRNORM | POLLERR, POLLPRI};
    std::uint64_t* user[kSets];
    std::uint64_t asked[kSets][kMaxSelected / kBitsPerWord];
    std::uint64_t found[kSets][kMaxSelected / kBitsPerWord];
};

Result select_once(Selection& selection, int count) {
    std::int64_t ready = 0;
    std::memset(selection.found, 0, sizeof selection.found);
    for (int word = 0; word * kBitsPerWord < count; ++word) {
        std::uint64_t any = selection.asked[0][word] | selection.asked[1][word] | selection.asked[2][word];
        for (; any != 0; any &= any - 1) {
            const int place = std::countr_zero(any);
            const int fd = word * kBitsPerWord + place;
            if (fd >= count) {
                break;
            }
            const File* file = descriptors().find(fd);
            if (file == nullptr) {
                return failure(EBADF);
            }
            const std::uint32_t bits = file->ready();
            for (int set = 0; set < Selection::kSets; ++set) {
                const std::uint64_t bit = selection.asked[set][word] & (1ULL << place);
                if (bit != 0 && (bits & Selection::kBits[set]) != 0) {
                    selection.found[set][word] |= bit;
                    ++ready;
                }
            }
        }
    }
    return ready;
}

Result select_sets(int count, std::uint64_t* reading, std::uint64_t* writing, std::uint64_t* failing,
                   Nanoseconds timeout) {
    if (count < 0) {
        return failure(EINVAL);
    }
    count = std::min(count, kMaxSelected);
    const std::size_t size =
        static_cast<std::size_t>((count + kBitsPerWord - 1) / kBitsPerWord) * sizeof(std::uint64_t);
    Selection selection{{reading, writing, failing}, {}, {}};
    for (int set = 0; set < Selection::kSets; ++set) {
        if (selection.user[set] != nullptr) {
            if (!accessible(selection.user[set], size)) {
                return failure(EFAULT);
            }
            std::memcpy(selection.asked[set], selection.user[set], size);
        }
    }
    Result ready = 0;
    const Wake wake = wait_until(
        [&] {
            ready = select_once(selection, count);
            return ready.raw() != 0;
        },
        timeout == kNever ? kNever : after(now(), timeout));
    if (wake == Wake::interrupted || ready.failed()) {
        return wake == Wake::interrupted ? failure(EINTR) : ready;
    }
    for (int set = 0; set < Selection::kSets; ++set) {
        if (selection.user[set] != nullptr) {
            std::memcpy(selection.user[set], selection.found[set], size);
        }
    }
    return ready;
}

}  // namespace

Result sys_poll(pollfd* entries, std::uint64_t count, int timeout_ms) {
    return poll_entries(entries, count, timeout_ms < 0 ? kNever : static_cast<Nanoseconds>(timeout_ms) * kMillisecond);
}

namespace {

// Runs `wait(limit)` and leaves what remains of the time in *timeout, as Linux does; null waits for ever.
template <typename WaitFor>
Result within(Timespec* timeout, WaitFor wait) {
    if (timeout == nullptr) {
        return wait(kNever);
    }
    if (!accessible(timeout)) {
        return failure(EFAULT);
    }
    if (!valid(*timeout)) {
        return failure(EINVAL);
    }
    const Nanoseconds limit = nanoseconds(*timeout);
    const Nanoseconds deadline = after(now(), limit);
    const Result result = wait(limit);
    const Nanoseconds at = now();
    *timeout = timespec_of(deadline > at ? deadline - at : 0);
    return result;
}

}  // namespace

Result sys_ppoll(pollfd* entries, std::uint64_t count, Timespec* timeout, const std::uint64_t* mask,
                 std::size_t mask_size) {
    if (!set_temporary_mask(mask, mask_size)) {
        return failure(mask_size != sizeof *mask ? EINVAL : EFAULT);
    }
    return within(timeout, [&](Nanoseconds limit) { return poll_entries(entries, count, limit); });
}

Result sys_select(int count, std::uint64_t* reading, std::uint64_t* writing, std::uint64_t* failing, Timeval* timeout) {
    if (timeout == nullptr) {
        return select_sets(count, reading, writing, failing, kNever);
    }
    if (!accessible(timeout)) {
        return failure(EFAULT);
    }
    constexpr std::int64_t kMicrosecondsPerSecond = 1'000'000;
    Timespec time{timeout->tv_sec + timeout->tv_usec / kMicrosecondsPerSecond,
                  timeout->tv_usec % kMicrosecondsPerSecond * 1000};
    const Result result =
        within(&time, [&](Nanoseconds limit) { return select_sets(count, reading, writing, failing, limit); });
    if (!result.is_error(EINVAL)) {
        *timeout = {time.tv_sec, time.tv_nsec / 1000};
    }
    return result;
}

Result sys_pselect6(int count, std::uint64_t* reading, std::uint64_t* writing, std::uint64_t* failing,
                    Timespec* timeout, const void* user_mask_and_size) {
    struct MaskAndSize {
        const std::uint64_t* mask;
        std::size_t size;
    };
    const auto* mask_and_size = static_cast<const MaskAndSize*>(user_mask_and_size);
    if (mask_and_size != nullptr &&
        (!accessible(mask_and_size) || !set_temporary_mask(mask_and_size->mask, mask_and_size->size))) {
        return failure(EFAULT);
    }
    return within(timeout, [&](Nanoseconds limit) { return select_sets(count, reading, writing, failing, limit); });
}

}  // namespace understudy::kernel
