// Counted code in an ordinary process: maps a control page where guest code expects it, so that tests and benchmarks
// can call what understudy-c++ compiled without a guest around it.
#pragma once

#include <cstdint>
#include <functional>

#include "guest/abi/abi.hpp"

namespace understudy::toolchain {

// The process's one control page, from construction to destruction. Not for several threads: the cell belongs to
// whoever runs counted code. Throws std::system_error when the address is taken or forbidden (vm.mmap_min_addr).
class NativeControlPage {
  public:
    NativeControlPage();
    ~NativeControlPage();
    NativeControlPage(const NativeControlPage&) = delete;
    NativeControlPage& operator=(const NativeControlPage&) = delete;

    // Lets the next `budget` counts pass; the trap is taken by the first charge that goes beyond.
    void arm(std::int64_t budget);
    // Counts since the last arm().
    [[nodiscard]] std::int64_t counted() const;
    // Brings the trap forward to the next charge; counted() is not disturbed. For signal handlers too: it may come
    // between any two instructions of counted code.
    void kick();

    // Called at each trap, on the stack of the interrupted code; arm() again in it. By default: arms without an end.
    void on_trap(std::function<void()> handler);

    static constexpr std::int64_t kEndless = std::int64_t{1} << 62;
};

}  // namespace understudy::toolchain
