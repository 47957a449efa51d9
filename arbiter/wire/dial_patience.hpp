// How long who dials a server waits for it to answer. A server that does not even take the connection is left soon.
// One whose kernel takes it may be silent because it hangs, or because a crowd stands before it: who hangs up then
// loses the place in the queue. So each wait that was in vain makes the next one longer; by chance, so that a crowd
// that began at once does not hang up at once.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace understudy::arbiter {

class DialPatience {
  public:
    using milliseconds = std::chrono::milliseconds;

    // `longest`: nearly; chance adds up to half of it.
    DialPatience(milliseconds first, milliseconds longest, std::uint64_t seed)
        : first_(first), longest_(longest), random_(seed), step_(first), waiting_(first) {}

    // For one attempt, from its beginning. `connected`: TCP is.
    [[nodiscard]] milliseconds limit(bool connected) const { return connected ? waiting_ : first_; }
    // The limit of an attempt has passed.
    void ran_out(bool connected) {
        if (connected) {
            step_ = std::min(2 * step_, longest_);
            const auto most = static_cast<std::uint64_t>(step_.count() / 2);
            waiting_ = step_ + milliseconds(random_() % (most + 1));
        }
    }
    void welcomed() { step_ = waiting_ = first_; }

  private:
    milliseconds first_;
    milliseconds longest_;
    std::mt19937_64 random_;
    milliseconds step_;
    milliseconds waiting_;
};

}  // namespace understudy::arbiter
