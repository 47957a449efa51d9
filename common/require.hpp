// Invariants that hold in every build.
#pragma once

#include <string_view>

namespace understudy {

// A broken rule is a programmer's error: prints `rule` and its place to standard error, and aborts. In a simulation's
// build (UNDERSTUDY_MUTATIONS) it throws std::logic_error instead, which the simulation reports with its seed. (By
// builtins of both compilers: clang 14 does not take std::source_location from this standard library.)
void require(bool holds, std::string_view rule, const char* file = __builtin_FILE(), int line = __builtin_LINE());

}  // namespace understudy
