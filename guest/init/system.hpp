// Errors of init, and the one way out when there is nothing to run.
#pragma once

#include <string>

namespace understudy::init {

// Exit statuses of the guest when the command did not set one; those that shells use.
constexpr int kCannotStart = 125;
constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;

// Writes "init: WHAT: errno's text" to the console.
void complain(const std::string& what);

// Ends the guest; its monitor exits with `status`.
[[noreturn]] void power_off(int status);

}  // namespace understudy::init
