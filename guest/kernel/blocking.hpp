// Calls that may have to wait for a file.
#pragma once

#include "guest/kernel/clock.hpp"
#include "guest/kernel/events.hpp"
#include "guest/kernel/file.hpp"

namespace understudy::kernel {

// Repeats `attempt` until it answers something else than EAGAIN, unless the file (or this call) is non-blocking.
template <typename Attempt>
Result blocking(const File& file, bool dont_wait, bool reading, Attempt attempt) {
    Result result = attempt();
    if (!result.is_error(EAGAIN) || dont_wait || file.nonblocking()) {
        return result;
    }
    const Nanoseconds limit = file.wait_limit(reading);
    const Wake wake = wait_until(
        [&] {
            result = attempt();
            return !result.is_error(EAGAIN);
        },
        limit == 0 ? kNever : after(now(), limit));
    if (wake == Wake::interrupted) {
        return failure(limit == 0 ? kRestart : EINTR);
    }
    return result;
}

}  // namespace understudy::kernel
