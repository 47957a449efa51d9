// Calls a function at a fixed interval, on the io_context's thread.
#pragma once

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <utility>

namespace understudy::replication {

class Periodic {
  public:
    using Clock = std::chrono::steady_clock;

    // The first call comes an interval from now. `call` may not destroy this object; destroying it ends the calls.
    Periodic(boost::asio::io_context& io, Clock::duration interval, std::function<void()> call)
        : timer_(io), interval_(interval), call_(std::move(call)) {
        arm(Clock::now() + interval_);
    }
    Periodic(const Periodic&) = delete;
    Periodic& operator=(const Periodic&) = delete;
    ~Periodic() = default;

    // The thread is awake anyway: a call that is due within half an interval comes as soon as the caller has returned
    // to the io_context. It saves waking up for it.
    void hasten() {
        if (const auto now = Clock::now(); timer_.expiry() > now && timer_.expiry() - now <= interval_ / 2) {
            arm(now);
        }
    }

    // For `call`: the next one comes at this time, if that is sooner than an interval from now.
    void not_after(Clock::time_point when) { not_after_ = when; }

  private:
    // A late call delays those after it: what is missed is not made up for.
    void arm(Clock::time_point when) {
        timer_.expires_at(when);
        timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
            if (!error && !alive.expired()) {
                not_after_ = Clock::time_point::max();
                call_();
                arm(std::min(Clock::now() + interval_, not_after_));
            }
        });
    }

    boost::asio::steady_timer timer_;
    const Clock::duration interval_;
    const std::function<void()> call_;
    Clock::time_point not_after_{};
    const std::shared_ptr<char> alive_ = std::make_shared<char>();  // a call may be queued when this object ends
};

}  // namespace understudy::replication
