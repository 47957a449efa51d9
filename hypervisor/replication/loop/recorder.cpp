#include "hypervisor/replication/loop/recorder.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <limits>
#include <utility>

namespace understudy::replication {
namespace {

// At one stop: the guest decides how large a console's buffer is.
constexpr std::size_t kMaxTyped = 4096;
// At once, where the guest has no receive buffers at all.
constexpr std::size_t kMaxFramesDropped = 1024;
// A guest that computes now and again would otherwise copy all that it wrote in between.
constexpr auto kForgetInterval = std::chrono::seconds(1);

// What is typed waits until the console's driver has buffers for it; to stop the guest for it would not bring them.
InputQueue::Typed typed_of(const machine::Wants& wants) {
    return wants.console_bytes > 0 ? InputQueue::Typed::counts : InputQueue::Typed::waits;
}

std::vector<std::byte> entropy(std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::size_t done = 0; done < size;) {
        const ssize_t n = ::getrandom(bytes.data() + done, size - done, 0);
        if (n < 0 && errno != EINTR) {
            throw Error::from_errno("getrandom", errno);
        }
        done += static_cast<std::size_t>(std::max<ssize_t>(n, 0));
    }
    return bytes;
}

}  // namespace

Recorder::Recorder(InputQueue& queue, RecorderConfig config, GuestTime start)
    : queue_(queue),
      config_(config),
      epoch_(Clock::now() - std::chrono::duration_cast<Clock::duration>(start)),
      next_memory_digest_(start + config.memory_digest_interval),
      comparison_pacing_(config.memory_digest_interval),
      typing_(start > GuestTime{0}),
      pacing_({.first_write = config.first_write}),
      interval_if_waited_for_(pacing_.interval(true)),
      interval_if_not_(pacing_.interval(false)) {}

GuestTime Recorder::now() const {
    return std::chrono::duration_cast<GuestTime>(Clock::now() - epoch_);
}

Recorder::Clock::time_point Recorder::host_time(std::uint64_t guest_deadline) const {
    constexpr std::uint64_t kFarAway = std::numeric_limits<std::int64_t>::max() / 4;
    return guest_deadline >= kFarAway ? Clock::time_point::max()
                                      : epoch_ + std::chrono::nanoseconds(static_cast<std::int64_t>(guest_deadline));
}

std::optional<Advance> Recorder::advance(const machine::Machine& machine) {
    const auto now = Clock::now();
    if (std::exchange(interrupted_, false)) {
        next_forgetting_ = now + kForgetInterval;  // a copy forgets by itself what is worth it
        if (const auto pages = machine.pages_tracked()) {
            pacing_.interrupted(now - interrupt_asked_.load(), *pages);
            interval_if_waited_for_ = pacing_.interval(true);
            interval_if_not_ = pacing_.interval(false);
        }
    }
    const bool forgets = now >= next_forgetting_;
    if (forgets) {
        next_forgetting_ = now + kForgetInterval;
    }
    runs_since_ = now;
    guest_runs_ = true;
    return machine::Budget{{machine.count().value + config_.quantum.value},
                           true,
                           nullptr,
                           forgets,
                           pacing_.copies_worth_a_first_write(interrupted_for_somebody_)};
}

std::optional<PageRange> Recorder::memory_to_compare(const machine::Machine& machine) {
    guest_runs_ = false;
    if (config_.memory_digest_interval == GuestTime{0} || now() < next_memory_digest_) {
        return std::nullopt;
    }
    const std::uint64_t all = machine.memory_size().value / kPageBytes;
    const std::uint64_t window = config_.memory_digest_window.value / kPageBytes;
    if (window == 0) {
        next_memory_digest_ = now() + config_.memory_digest_interval;
        return PageRange{};
    }
    comparing_since_ = Clock::now();
    if (next_page_ >= all) {
        next_page_ = 0;
    }
    const PageRange pages{next_page_, std::min(window, all - next_page_)};
    next_page_ += window;
    return pages;
}

// Whoever asked for a stretch to compare has done so.
void Recorder::compared() {
    if (const auto since = std::exchange(comparing_since_, std::nullopt)) {
        comparison_pacing_.compared(Clock::now() - *since);
        next_memory_digest_ = now() + comparison_pacing_.interval();
    }
}

std::optional<machine::Kick> Recorder::overdue() {
    const auto now = Clock::now();
    const auto runs_for = now - runs_since_.load();
    if (!guest_runs_ || runs_for < kOverdueInterval) {
        return std::nullopt;
    }
    const bool something_waits = queue_.wants_stop();
    if (runs_for < (something_waits ? interval_if_waited_for_ : interval_if_not_).load()) {
        return machine::Kick::at_next_count;
    }
    interrupt_asked_ = now;
    interrupted_for_somebody_ = something_waits;
    return machine::Kick::anywhere;
}

bool Recorder::must_wait(const Stop& stop, machine::Machine& machine) {
    compared();
    if (stop.kind != StopKind::idle || Clock::now() >= host_time(stop.argument)) {
        return false;
    }
    const machine::Wants wants = machine.wants();
    return !wants.to_run && wants.random_bytes == 0 && !queue_.wants_stop(typed_of(wants));
}

std::optional<Input> Recorder::input(const Record& reached, machine::Machine& machine) {
    interrupted_ = reached.stop.kind == StopKind::interrupt;
    const machine::Wants wants = machine.wants();
    const bool idle = reached.stop.kind == StopKind::idle && !wants.to_run && wants.random_bytes == 0;
    if (idle) {
        queue_.wait_until(host_time(reached.stop.argument), typed_of(wants));
    }
    Input input;
    input.clock = std::max(machine.clock(), now());
    input.frames = received(machine, wants, idle);
    input.answer = entropy(wants.random_bytes);
    // A driver that is just starting has buffers, and drops what arrives; a guest that idles is not within that.
    typing_ = typing_ || (reached.stop.kind == StopKind::idle && wants.console_bytes > 0);
    if (typing_) {
        input.typed = queue_.take_typed(std::min(wants.console_bytes, kMaxTyped));
    }
    return input;
}

// What finds no room waits for a later stop, when the guest will have handled what it has. A guest that idles has, and
// offers no more than this: what finds no room then never will, and would keep the guest from idling.
std::vector<Frame> Recorder::received(machine::Machine& machine, const machine::Wants& wants, bool idle) {
    std::vector<Frame> frames = queue_.take(wants.frames, kMaxInputFrameBytes);
    auto fit = static_cast<std::ptrdiff_t>(machine.room_for(frames));
    if (idle && fit == 0) {
        if (wants.frames == 0) {
            (void)queue_.take(kMaxFramesDropped, kMaxInputFrameBytes);
        } else if (!frames.empty()) {
            frames.erase(frames.begin());
            fit = static_cast<std::ptrdiff_t>(machine.room_for(frames));
        }
    }
    queue_.put_back({std::make_move_iterator(frames.begin() + fit), std::make_move_iterator(frames.end())});
    frames.resize(static_cast<std::size_t>(fit));
    return frames;
}

}  // namespace understudy::replication
