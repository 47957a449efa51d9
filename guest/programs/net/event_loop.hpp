// A single-threaded, level-triggered epoll loop.
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "guest/programs/net/file_descriptor.hpp"

namespace understudy::programs {

// Monotonic time since boot; kNever: no deadline.
using Time = std::chrono::nanoseconds;
constexpr Time kNever = Time::max();
Time monotonic_now();

// What a descriptor is watched for, and what it was found ready for. An error shows as both.
struct Readiness {
    bool readable = false;
    bool writable = false;
    bool operator==(const Readiness&) const = default;
};

class EventLoop {
  public:
    class Handler {
      public:
        virtual ~Handler() = default;
        virtual void ready(Readiness readiness) = 0;
    };

    EventLoop();

    // The handler must outlive its registration. A handler may unregister any descriptor while events are dispatched,
    // its own included: events already fetched for it are dropped.
    void add(int descriptor, Readiness interest, Handler& handler);
    void change(int descriptor, Readiness interest);
    void remove(int descriptor);

    // Waits until something is ready or `deadline` has come, and dispatches what is ready, in the kernel's order.
    void run_once(Time deadline = kNever);

    // The time at which the last wait ended: what happens in one dispatch happens at one time.
    [[nodiscard]] Time now() const { return now_; }

  private:
    struct Registration {
        Handler* handler = nullptr;
        std::uint32_t generation = 0;  // tells a descriptor's number from its earlier uses
    };

    void control(int operation, int descriptor, Readiness interest);

    FileDescriptor epoll_;
    std::vector<Registration> registrations_;  // by descriptor
    std::vector<epoll_event> events_;
    Time now_;
};

}  // namespace understudy::programs
