// What an epoll instance must look at: interests whose file may have become ready, in the order in which that happened.
// Pure: whether an interest is ready, and what its owner is told, are asked of the caller.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guest/kernel/list.hpp"

namespace understudy::kernel {

constexpr std::uint32_t kEpollEdge = 1U << 31;
constexpr std::uint32_t kEpollOneShot = 1U << 30;
constexpr std::uint32_t kEpollWakeUp = 1U << 29;
constexpr std::uint32_t kEpollExclusive = 1U << 28;
constexpr std::uint32_t kEpollAlways = 0x008 | 0x010;  // EPOLLERR and EPOLLHUP are reported, asked for or not
constexpr std::uint32_t kEpollModes = kEpollEdge | kEpollOneShot | kEpollWakeUp | kEpollExclusive;

struct Interest {
    std::uint32_t events = 0;  // EPOLL* bits with their modes; no bit but modes: disarmed
    std::uint64_t data = 0;
    ListHook in_ready_list;

    // The bits of `ready` that are asked for.
    [[nodiscard]] std::uint32_t wanted(std::uint32_t ready) const {
        const std::uint32_t asked = events & ~kEpollModes;
        return asked == 0 ? 0 : ready & (asked | kEpollAlways);
    }
};

class ReadyList {
  public:
    [[nodiscard]] bool empty() const { return list_.empty(); }
    // The interest's file has changed, or the interest itself.
    void mark(Interest& interest) {
        if (!interest.in_ready_list.linked()) {
            list_.push_back(interest);
        }
    }

    // Calls report(interest, bits) for up to `capacity` interests that are ready by `ready_of(interest)`; returns how
    // many. A level-triggered interest stays in the list, behind the others; an edge-triggered one leaves it until its
    // file changes again; a one-shot one is disarmed.
    template <typename ReadyOf, typename Report>
    std::size_t collect(std::size_t capacity, ReadyOf ready_of, Report report) {
        List<Interest, &Interest::in_ready_list> again;
        std::size_t count = 0;
        while (count < capacity) {
            Interest* interest = list_.pop_front();
            if (interest == nullptr) {
                break;
            }
            const std::uint32_t bits = interest->wanted(ready_of(*interest));
            if (bits == 0) {
                continue;
            }
            report(*interest, bits);
            ++count;
            if ((interest->events & kEpollOneShot) != 0) {
                interest->events &= kEpollModes;
            } else if ((interest->events & kEpollEdge) == 0) {
                again.push_back(*interest);
            }
        }
        while (Interest* interest = again.pop_front()) {
            list_.push_back(*interest);
        }
        return count;
    }

    // Whether any interest in the list is ready; drops those that are not.
    template <typename ReadyOf>
    bool any(ReadyOf ready_of) {
        while (Interest* interest = list_.front()) {
            if (interest->wanted(ready_of(*interest)) != 0) {
                return true;
            }
            interest->in_ready_list.unlink();
        }
        return false;
    }

  private:
    List<Interest, &Interest::in_ready_list> list_;
};

}  // namespace understudy::kernel
