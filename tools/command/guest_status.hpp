// How a guest's end becomes the exit status of the command that ran it.
#pragma once

#include <cstdint>

namespace understudy::tools {

// `argument` is that of the guest's exit stop. Says on standard error what the number alone would not.
[[nodiscard]] int status_of_guest(std::uint64_t argument);

}  // namespace understudy::tools
