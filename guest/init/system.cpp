#include "guest/init/system.hpp"

#include <linux/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace understudy::init {

void complain(const std::string& what) {
    const int error = errno;
    std::string line = "init: " + what;
    if (error != 0) {
        line += std::string(": ") + std::strerror(error);
    }
    line += '\n';
    [[maybe_unused]] const auto written = write(STDERR_FILENO, line.data(), line.size());
}

void power_off(int status) {
    sync();
    const std::string command = "understudy-exit:" + std::to_string(status);
    syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_RESTART2, command.c_str());
    _exit(status);  // the kernel panics
}

}  // namespace understudy::init
