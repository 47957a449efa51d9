// Runs something that may raise a signal by itself (a fault), and says which.
#pragma once

#include <cstdint>
#include <functional>

#include "guest/programs/torture/torture.hpp"

namespace understudy::torture {

struct Caught {
    int signal = 0;  // 0: none
    int code = 0;
    std::uint64_t address = 0;
};

// The main thread's only, and not within itself. The signal's whole frame goes into `seen`, x87 and SSE state included.
Caught run_caught(Checksum& seen, const std::function<void()>& action);

// Pages of memory, unmapped at the end.
class Pages {
  public:
    Pages(std::size_t bytes, int protection, int flags, int file = -1);
    ~Pages();
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;
    [[nodiscard]] std::uint8_t* data() const { return data_; }
    [[nodiscard]] std::size_t size() const { return size_; }

  private:
    std::uint8_t* data_;
    std::size_t size_;
};

constexpr std::size_t kPage = 4096;

}  // namespace understudy::torture
