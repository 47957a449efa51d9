// Executes single instructions with chosen registers on the host's processor, and says how that ended: the layer's
// decoder and its emulation are compared with it.
#pragma once

#include <span>

#include "guest/pv/types.hpp"

namespace understudy::pv {

// Memory that the instructions see, at an address that fits into 31 bits:
//
//   nothing, kArenaPages pages of the kinds below, nothing
class Arena {
  public:
    enum class Kind { writable, read_only, none };
    static constexpr unsigned kPages = 16;

    Arena();
    ~Arena();
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    [[nodiscard]] u64 begin() const { return begin_; }
    [[nodiscard]] u64 end() const { return begin_ + kPages * kPageBytes; }
    [[nodiscard]] static Kind kind(unsigned page);
    // Where instructions lie: executable, followed by an instruction that traps.
    [[nodiscard]] u64 code() const { return code_; }

    // Writable pages are zero again.
    void clear();
    // Where the processor finds it; what does not fit into the code's page is a programmer's error. The last bytes of
    // the page where nothing can be read behind it, if `at_end`.
    u64 put(std::span<const u8> instruction);

  private:
    u64 begin_ = 0;
    u64 code_ = 0;
};

struct Outcome {
    u64 trap = 0;  // the vector that ended it: 3 when the instruction was executed
    u64 address = 0;
    understudy_frame frame{};  // registers then; error_code too
};

// Runs what is at `frame.rip`, with every register from `frame`. The GS base is `gs_base` meanwhile.
[[nodiscard]] Outcome execute(const understudy_frame& frame, u64 gs_base);

[[nodiscard]] u64 fs_base();

}  // namespace understudy::pv
