// Linked into a counted program, lets it run on the host: the control page is there before any counted code runs, and
// traps let it go on. UNDERSTUDY_TRAP_EVERY=N in the environment brings a trap every N counts.
#include <cstdlib>

#include "guest/toolchain/native_control_page.hpp"

namespace {

using understudy::toolchain::NativeControlPage;

std::int64_t trap_interval() {
    const char* given = std::getenv("UNDERSTUDY_TRAP_EVERY");
    const std::int64_t counts = given == nullptr ? 0 : std::strtoll(given, nullptr, 10);
    return counts > 0 ? counts - 1 : NativeControlPage::kEndless;
}

class Host {
  public:
    Host() {
        page_.on_trap([this] { page_.arm(interval_); });
        page_.arm(interval_);
    }

  private:
    NativeControlPage page_;
    std::int64_t interval_ = trap_interval();
};

// 101: the first priority that is not the C++ library's own.
[[gnu::init_priority(101)]] Host host;  // NOLINT

}  // namespace
