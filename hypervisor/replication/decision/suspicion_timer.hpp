// When a silent peer is taken for lost. A replica that was not scheduled itself (a stopped process, a stalled host) has
// heard nothing either, and must not blame its peer for that: it sees the gap between two of its own ticks and starts
// the wait again.
//
// Pure: times are std::chrono::nanoseconds since any fixed epoch, on a monotonic clock. Suspicion may be wrong; the
// arbiter decides then. It costs a takeover, never a wrong answer.
#pragma once

#include <chrono>

namespace understudy::replication {

class SuspicionTimer {
  public:
    using Time = std::chrono::nanoseconds;
    static constexpr Time kDefaultSuspicion = std::chrono::milliseconds(100);
    // A replica that keeps finding itself late blames its peer after this many excuses in one silence all the same: a
    // host that is always late would otherwise wait for ever.
    static constexpr int kMaxExcuses = 10;

    explicit SuspicionTimer(Time now, Time suspicion = kDefaultSuspicion)
        : suspicion_(suspicion), heard_(now), ticked_(now) {}

    // Anything arrived from the peer.
    void heard(Time now) {
        heard_ = now;
        excuses_ = 0;
    }

    // To be called at least every suspicion / 4; true: the peer is suspected. When both are due, call heard() first for
    // everything that has arrived.
    [[nodiscard]] bool tick(Time now) {
        const bool was_away = now - ticked_ > suspicion_ / 2;
        ticked_ = now;
        if (was_away && excuses_ < kMaxExcuses) {
            ++excuses_;
            heard_ = now;
        }
        return now - heard_ >= suspicion_;
    }

    // When tick() would suspect the peer if nothing came until then.
    [[nodiscard]] Time due() const { return heard_ + suspicion_; }

  private:
    Time suspicion_;
    Time heard_;
    Time ticked_;
    int excuses_ = 0;
};

}  // namespace understudy::replication
