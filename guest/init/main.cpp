// The first program of a guest that runs one command: mounts, addresses, the command, and its status to the monitor.
// Without a command the image's own init goes on (systemd, usually).
//
// Static, because it starts before any file system but the initial ramdisk is there.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "guest/init/network.hpp"
#include "guest/init/root.hpp"
#include "guest/init/settings.hpp"
#include "guest/init/system.hpp"

namespace understudy::init {
namespace {

Settings read_settings() {
    std::ifstream in(kSettingsPath, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    return parse_settings(text);
}

// Replaces this process; returns the status for an exit if that is not possible.
int execute(const std::vector<std::string>& arguments, const std::vector<std::string>& environment) {
    std::vector<char*> argv;
    for (const std::string& argument : arguments) {
        argv.push_back(const_cast<char*>(argument.c_str()));  // NOLINT: exec's signature is older than const
    }
    argv.push_back(nullptr);
    clearenv();
    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    setenv("HOME", "/root", 1);
    setenv("TERM", "linux", 1);
    for (const std::string& entry : environment) {
        putenv(const_cast<char*>(entry.c_str()));  // NOLINT: as above; lives as long as this process image
    }
    execvp(argv.front(), argv.data());
    const int error = errno;
    complain("cannot run " + arguments.front());
    return error == ENOENT ? kNotFound : kNotExecutable;
}

// The command has a session and the console as its terminal, as if somebody had logged in there.
void take_console() {
    setsid();
    const int console = open("/dev/hvc0", O_RDWR);
    if (console < 0) {
        return;
    }
    ioctl(console, TIOCSCTTY, 1);
    for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
        dup2(console, descriptor);
    }
    if (console > STDERR_FILENO) {
        close(console);
    }
}

int status_of(int wait_status) {
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

// Everything that lost its parent ends up here.
int reap_until(pid_t command) {
    for (;;) {
        int status = 0;
        const pid_t ended = wait(&status);
        if (ended == command) {
            return status_of(status);
        }
        if (ended < 0 && errno != EINTR) {
            return kCannotStart;
        }
    }
}

// What the command left behind may end in order.
void end_the_rest() {
    kill(-1, SIGTERM);
    constexpr int kPolls = 100;
    for (int poll = 0; poll < kPolls; ++poll) {
        while (waitpid(-1, nullptr, WNOHANG) > 0) {
        }
        if (errno == ECHILD) {
            return;
        }
        const timespec pause{0, 10'000'000};
        nanosleep(&pause, nullptr);
    }
    kill(-1, SIGKILL);
}

int run(const Settings& settings) {
    const pid_t command = fork();
    if (command < 0) {
        complain("cannot fork");
        return kCannotStart;
    }
    if (command == 0) {
        take_console();
        _exit(execute(settings.arguments, settings.environment));
    }
    const int status = reap_until(command);
    end_the_rest();
    return status;
}

}  // namespace
}  // namespace understudy::init

int main() {
    using namespace understudy::init;
    const Settings settings = read_settings();
    prepare_root(settings);
    prepare_network(settings);
    if (settings.arguments.empty()) {
        power_off(execute({"/sbin/init"}, settings.environment));
    }
    power_off(run(settings));
}
