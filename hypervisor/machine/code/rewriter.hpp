// Rewrites guest code: nondeterministic instructions become traps before they can run, SYSCALL sites become jumps to
// the guest kernel when they are first executed.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/digest.hpp"
#include "guest/abi/abi.hpp"
#include "hypervisor/machine/code/finder.hpp"
#include "hypervisor/memory/guest_memory.hpp"

namespace understudy::machine {

using memory::GuestAddress;
using memory::GuestMemory;

// One range of CodeRanges, swept from its begin: where instructions start and where direct jumps and calls lead.
class CodeMap {
  public:
    CodeMap(std::span<const std::byte> code, std::uint64_t base);

    [[nodiscard]] bool contains(std::uint64_t address) const {
        return address >= base_ && address - base_ < starts_.size();
    }
    [[nodiscard]] std::uint64_t end() const { return base_ + starts_.size(); }
    // Is it what a sweep of `code` at `base` would give?
    [[nodiscard]] bool shows(std::span<const std::byte> code, std::uint64_t base) const {
        return base == base_ && code.size() == starts_.size() && digest(code) == digest_;
    }
    [[nodiscard]] bool is_start(std::uint64_t address) const { return contains(address) && starts_[address - base_]; }
    // Does any direct branch of the range lead there?
    [[nodiscard]] bool is_target(std::uint64_t address) const;

  private:
    std::uint64_t base_;
    std::uint64_t digest_;
    std::vector<bool> starts_;
    std::vector<bool> targets_;                   // in the range
    std::vector<std::uint64_t> outside_targets_;  // ascending
};

// Deterministic: what it writes follows from guest memory alone, so that recorder and replayer, and a backup that
// received its memory by state transfer, write the same bytes. It keeps nothing but sweeps, and checks
// that each is of what is there now.
class CodeRewriter {
  public:
    // A scan of much code ends early once `abandoned` is set: the guest goes nowhere from there.
    CodeRewriter(GuestMemory& memory, const std::atomic<bool>& abandoned) : memory_(memory), abandoned_(abandoned) {}

    // Replaces the RDTSC, RDTSCP, RDRAND, RDSEED, CPUID, XGETBV and RDPID in the code of an executable segment
    // (find_code() says what is code) by `out imm8` (abi::Port) and NOPs, and remembers where code is. Returns how many
    // it replaced; nothing when the segment is outside memory.
    std::optional<std::size_t> scan_segment(abi::Region segment, const CodeHints& hints);

    // The same for code that the program made or loaded, of which nothing is known. What scan_segment() found to be
    // data stays data. Beyond what CodeRanges has room for, SYSCALL sites keep trapping. Nothing when the range is not
    // all of programs' memory.
    std::optional<std::size_t> scan(abi::Region range);

    // Rewrites the SYSCALL at `site` to reach `syscall_entry` without an exit. `trampoline_used` is the number of bytes
    // used from abi::kTrampolineBase, and grows. Returns where the call that trapped continues: behind the
    // SYSCALL, or in the trampoline where what stood behind it has moved there. Nothing where no rewriting is safe: the
    // site keeps trapping.
    //
    // Three shapes, tried in turn. P is an instruction start before the site, E one behind it; nothing may jump
    // between the first and last byte replaced, and moved instructions must not depend on where they are.
    //   1. five bytes or more in [P, site): they become `jmp`, the SYSCALL stays for whoever jumps straight to it
    //   2. [site, E): SYSCALL and what follows it become `jmp`
    //   3. [P, E)
    std::optional<std::uint64_t> rewrite_site(GuestAddress site, std::uint64_t syscall_entry,
                                              std::uint64_t& trampoline_used);

  private:
    struct Plan {
        std::uint64_t start;  // P
        std::uint64_t end;    // E, or the site in the first shape
    };
    [[nodiscard]] std::optional<Plan> plan(std::uint64_t site);
    [[nodiscard]] bool is_system_call(const CodeMap& map, std::uint64_t site) const;
    [[nodiscard]] bool movable(std::uint64_t from, std::uint64_t to) const;
    [[nodiscard]] bool jumped_into(std::uint64_t from, std::uint64_t to) const;
    [[nodiscard]] std::optional<std::uint64_t> end_behind(const CodeMap& map, std::uint64_t site,
                                                          std::uint64_t start) const;
    void update_maps();
    [[nodiscard]] const CodeMap* map_of(std::uint64_t address) const;
    FoundCode replace_in(abi::Region range, const CodeHints& hints);
    std::size_t replace_in_pieces(abi::Region range);
    std::size_t replace_in_segments(abi::Region range);
    void remember(std::vector<abi::Region> found);

    GuestMemory& memory_;
    const std::atomic<bool>& abandoned_;
    std::vector<CodeMap> maps_;  // as memory was when it was last looked at
};

}  // namespace understudy::machine
