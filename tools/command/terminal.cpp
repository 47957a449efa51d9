#include "tools/command/terminal.hpp"

#include <unistd.h>

namespace understudy::tools {

bool is_interactive() {
    return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1 && ::tcgetpgrp(STDIN_FILENO) == ::getpgrp();
}

RawTerminal::RawTerminal() {
    if (::tcgetattr(STDIN_FILENO, &before_) != 0) {
        return;
    }
    termios raw = before_;
    const tcflag_t output = raw.c_oflag;
    ::cfmakeraw(&raw);
    raw.c_oflag = output;  // lines of our own among the guest's begin at the left
    changed_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

RawTerminal::~RawTerminal() {
    if (changed_) {
        ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    }
}

}  // namespace understudy::tools
