// Which refusals a gateway's user reads. Who is turned away comes again, and strangers may come as often as they like,
// with other words each time: the same words are told once a minute, and so many in a minute at the most.
//
// Pure: the time comes from the caller.
#pragma once

#include <chrono>
#include <string>

namespace understudy::network {

class Refusals {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::seconds kQuiet{60};
    static constexpr int kMost = 20;

    [[nodiscard]] bool worth_telling(const std::string& why, Clock::time_point now) {
        if (!begun_ || now - minute_ > kQuiet) {
            begun_ = true;
            minute_ = now;
            told_ = 0;
        }
        if ((why == last_ && now - last_at_ <= kQuiet) || told_ == kMost) {
            return false;
        }
        ++told_;
        last_ = why;
        last_at_ = now;
        return true;
    }

  private:
    bool begun_ = false;
    Clock::time_point minute_{};
    int told_ = 0;  // in it
    std::string last_;
    Clock::time_point last_at_{};
};

}  // namespace understudy::network
