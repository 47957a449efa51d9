#include "tools/command/guest_status.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "common/execution.hpp"
#include "common/tell.hpp"
#include "tools/process/exit_status.hpp"

namespace understudy::tools {

int status_of_guest(std::uint64_t argument) {
    if (argument != kExitReboot) {
        return static_cast<int>(argument);
    }
    std::fflush(stdout);
    tell("understudy: the guest asked for a reboot\n");
    return kRebootWanted;
}

}  // namespace understudy::tools
