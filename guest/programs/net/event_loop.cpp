#include "guest/programs/net/event_loop.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <limits>
#include <system_error>

namespace understudy::programs {
namespace {

constexpr std::size_t kEventsAtOnce = 512;

int timeout_until(Time deadline) {
    if (deadline == kNever) {
        return -1;
    }
    // Rounded up: a wait that ends just before its deadline would only be repeated.
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(deadline - monotonic_now());
    return static_cast<int>(std::clamp<std::int64_t>(wait.count(), 0, std::numeric_limits<int>::max()));
}

}  // namespace

Time monotonic_now() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return std::chrono::seconds(time.tv_sec) + Time(time.tv_nsec);
}

EventLoop::EventLoop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)), events_(kEventsAtOnce), now_(monotonic_now()) {
    if (!epoll_) {
        throw std::system_error(errno, std::generic_category(), "cannot create an epoll instance");
    }
}

void EventLoop::control(int operation, int descriptor, Readiness interest) {
    const Registration& registration = registrations_[static_cast<std::size_t>(descriptor)];
    epoll_event event{};
    event.events = (interest.readable ? EPOLLIN : 0U) | (interest.writable ? EPOLLOUT : 0U);
    event.data.u64 = (std::uint64_t{registration.generation} << 32) | static_cast<std::uint32_t>(descriptor);
    if (::epoll_ctl(epoll_.get(), operation, descriptor, &event) != 0) {
        throw std::system_error(errno, std::generic_category(), "epoll_ctl");
    }
}

void EventLoop::add(int descriptor, Readiness interest, Handler& handler) {
    const auto index = static_cast<std::size_t>(descriptor);
    if (registrations_.size() <= index) {
        registrations_.resize(index + 1);
    }
    registrations_[index].handler = &handler;
    control(EPOLL_CTL_ADD, descriptor, interest);
}

void EventLoop::change(int descriptor, Readiness interest) {
    control(EPOLL_CTL_MOD, descriptor, interest);
}

void EventLoop::remove(int descriptor) {
    control(EPOLL_CTL_DEL, descriptor, {});
    Registration& registration = registrations_[static_cast<std::size_t>(descriptor)];
    registration.handler = nullptr;
    ++registration.generation;
}

void EventLoop::run_once(Time deadline) {
    const int count =
        ::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()), timeout_until(deadline));
    if (count < 0 && errno != EINTR) {
        throw std::system_error(errno, std::generic_category(), "epoll_wait");
    }
    now_ = monotonic_now();
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events_[static_cast<std::size_t>(i)];
        const Registration& registration = registrations_[static_cast<std::uint32_t>(event.data.u64)];
        if (registration.handler == nullptr || registration.generation != event.data.u64 >> 32) {
            continue;
        }
        const bool broken = (event.events & (EPOLLERR | EPOLLHUP)) != 0;
        registration.handler->ready({.readable = broken || (event.events & EPOLLIN) != 0,
                                     .writable = broken || (event.events & EPOLLOUT) != 0});
    }
}

}  // namespace understudy::programs
