// Invariants that hold in every build.
#pragma once

#include <source_location>
#include <string_view>

namespace understudy {

// A broken rule is a programmer's error: prints `rule` and its place to standard error, and aborts. In a simulation's
// build (UNDERSTUDY_MUTATIONS) it throws std::logic_error instead, which the simulation reports with its seed.
void require(bool holds, std::string_view rule, std::source_location place = std::source_location::current());

}  // namespace understudy
