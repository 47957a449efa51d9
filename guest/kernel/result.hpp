// What a system call answers: a value, or the negative number of an error, as Linux has it in RAX.
#pragma once

#include <asm/errno.h>

#include <cstdint>

namespace understudy::kernel {

class [[nodiscard]] Result {
  public:
    // A success reads as its value.
    constexpr Result(std::int64_t value) : raw_(value) {}  // NOLINT(google-explicit-constructor)
    [[nodiscard]] constexpr std::int64_t raw() const { return raw_; }
    [[nodiscard]] constexpr bool failed() const { return raw_ < 0 && raw_ >= -4095; }
    [[nodiscard]] constexpr bool is_error(int number) const { return raw_ == -number; }

  private:
    std::int64_t raw_;
};

constexpr Result failure(int number) {
    return Result(-std::int64_t{number});
}

// A blocking call that a signal interrupts: EINTR when a handler without SA_RESTART runs, otherwise begun again.
constexpr int kRestart = 512;

}  // namespace understudy::kernel
