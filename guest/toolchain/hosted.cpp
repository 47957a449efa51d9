// Linked into a counted program, lets it run on the host: the control page is there before any counted code runs, and
// traps let it go on.
#include "guest/toolchain/native_control_page.hpp"

namespace {

// 101: the first priority that is not the C++ library's own.
[[gnu::init_priority(101)]] understudy::toolchain::NativeControlPage page;  // NOLINT

}  // namespace
