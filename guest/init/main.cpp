// The first program of a guest that runs one command: mounts, addresses, the command, and its status to the monitor.
// Without a command the image's own init goes on (systemd, usually).
//
// Static, because it starts before any file system but the initial ramdisk is there.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "guest/init/kernel_words.hpp"
#include "guest/init/network.hpp"
#include "guest/init/root.hpp"
#include "guest/init/settings.hpp"
#include "guest/init/system.hpp"

namespace understudy::init {
namespace {

constexpr const char* kSearchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string content_of(const char* path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<char*> pointers_to(const std::vector<std::string>& words) {
    std::vector<char*> pointers;
    for (const std::string& word : words) {
        pointers.push_back(const_cast<char*>(word.c_str()));  // NOLINT: exec's signature is older than const
    }
    pointers.push_back(nullptr);
    return pointers;
}

// What the kernel gave stays: the words NAME=VALUE of its command line that it did not know.
void set_environment(const std::vector<std::string>& entries) {
    setenv("PATH", kSearchPath, 0);
    setenv("HOME", "/root", 1);  // the kernel says "/"
    setenv("TERM", "linux", 0);
    for (const std::string& entry : entries) {
        putenv(const_cast<char*>(entry.c_str()));  // NOLINT: as above; lives as long as this process image
    }
}

// As execvp(), but what is no program is not given to a shell: that would complain of the bytes of a foreign one.
void search_and_execute(const std::string& name, char* const* argv) {
    if (name.find('/') != std::string::npos) {
        execv(name.c_str(), argv);
        return;
    }
    int error = ENOENT;
    const char* const path = getenv("PATH");
    std::istringstream folders(path == nullptr ? kSearchPath : path);
    for (std::string file; std::getline(folders, file, ':');) {
        file.append("/").append(name);
        execv(file.c_str(), argv);
        if (errno != ENOENT && errno != ENOTDIR) {
            error = errno;
        }
    }
    errno = error;
}

// Replaces this process; returns the status for an exit if that is not possible.
int execute(const std::vector<std::string>& arguments, const std::vector<std::string>& environment) {
    set_environment(environment);
    search_and_execute(arguments.front(), pointers_to(arguments).data());
    const int error = errno;
    const char* const hint = error == ENOEXEC  ? " (is it, or the image, of another architecture? guests are x86-64)"
                             : error == ENOENT ? " (is it, with the loader that it names, in the image?)"
                                               : "";
    complain("cannot run " + arguments.front() + hint);
    return error == ENOENT ? kNotFound : kNotExecutable;
}

// The first process leads the session whose terminal the console is, and whatever it starts inherits that: the kernel
// takes the terminal away from all when a session's leader ends, and this one outlives what the command left behind.
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

// A group of its own, to which what is typed and Ctrl-C go, as a shell gives a job.
void come_to_the_foreground() {
    setpgid(0, 0);
    sigset_t stop;
    sigset_t before;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTTOU);  // for who takes the terminal from the background
    sigprocmask(SIG_BLOCK, &stop, &before);
    tcsetpgrp(STDIN_FILENO, getpid());
    sigprocmask(SIG_SETMASK, &before, nullptr);
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
    take_console();
    const pid_t command = fork();
    if (command < 0) {
        complain("cannot fork");
        return kCannotStart;
    }
    if (command == 0) {
        come_to_the_foreground();
        _exit(execute(settings.arguments, settings.environment));
    }
    const int status = reap_until(command);
    end_the_rest();
    return status;
}

}  // namespace
}  // namespace understudy::init

int main(int argc, char** argv) {
    using namespace understudy::init;
    Settings settings = parse_settings(content_of(kSettingsPath));
    prepare_root(settings);
    prepare_network(settings);
    const KernelWords words = sort_kernel_words({argv + std::min(argc, 1), argv + argc}, content_of("/proc/cmdline"));
    if (settings.arguments.empty()) {
        settings.arguments = words.command;
    }
    if (settings.arguments.empty()) {
        std::vector<std::string> program = {words.program};
        program.insert(program.end(), words.for_program.begin(), words.for_program.end());
        power_off(execute(program, settings.environment));
    }
    power_off(run(settings));
}
