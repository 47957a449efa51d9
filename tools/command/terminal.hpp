// The user's terminal as the guest's: every key goes to the guest.
#pragma once

#include <termios.h>

namespace understudy::tools {

// Whether standard input and output are a terminal whose foreground this process is in: only then may it read there.
[[nodiscard]] bool is_interactive();

// While the object lives, what is typed at standard input comes through at once, unechoed, Ctrl-C as a byte like any
// other. Output stays as it is. Without effect where standard input is no terminal.
class RawTerminal {
  public:
    RawTerminal();
    ~RawTerminal();
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;

  private:
    bool changed_ = false;
    termios before_{};
};

}  // namespace understudy::tools
