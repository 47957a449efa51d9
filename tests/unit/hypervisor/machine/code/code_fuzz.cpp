// Any bytes as a program's code: searched with hints and without, its system calls rewritten wherever the guest claims
// to have made one, what is known of its code overwritten as a received state may. Nothing reads or writes outside
// guest memory (the sanitizers watch), and what is neither code nor a trampoline stays as it is.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>

#include "hypervisor/machine/code/rewriter.hpp"
#include "hypervisor/machine/platform.hpp"
#include "tests/fuzz_source.hpp"

namespace {

using namespace understudy;
using namespace understudy::machine;

constexpr std::uint64_t kRoom = 16U << 10;  // of memory above abi::kProgramBase
constexpr std::uint64_t kEntry = abi::kKernelBase + 0x40;
constexpr std::size_t kMaxCode = 4096;
constexpr std::byte kElsewhere{0xa5};

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

GuestMemory& memory() {
    static GuestMemory memory({abi::kProgramBase + kRoom}, GuestMemory::Population::later);
    return memory;
}

std::span<std::byte> room() {
    return memory().all().subspan(abi::kProgramBase);
}

// One guest; its memory is used again by the next, because to map it takes longer than all else.
class Guest {
  public:
    Guest(std::span<const std::byte> code, bool at_end)
        : base_(at_end ? memory().size().value - code.size() : kBegin), size_(code.size()) {
        std::ranges::fill(room(), kElsewhere);
        std::ranges::copy(code, memory().all().subspan(base_).begin());
        code_ranges(memory()) = {};
    }

    CodeRewriter& rewriter() { return rewriter_; }
    [[nodiscard]] std::uint64_t base() const { return base_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }

    void rewrite(std::uint64_t site) {
        constexpr std::uint64_t kTrampolines = abi::kTrampolineLimit - abi::kTrampolineBase;
        const std::uint64_t before = trampoline_used_;
        if (rewriter_.rewrite_site({site}, kEntry, trampoline_used_)) {
            require(trampoline_used_ > before && trampoline_used_ <= kTrampolines);
        }
    }
    void rewrite_all() {
        for (std::uint64_t at = base_; at < base_ + size_; ++at) {
            const auto bytes = memory().read<std::array<std::uint8_t, 2>>({at});
            if (bytes == std::array<std::uint8_t, 2>{0x0f, 0x05}) {
                rewrite(at);
            }
        }
    }
    void require_the_rest_untouched() const {
        const auto is_elsewhere = [](std::byte byte) { return byte == kElsewhere; };
        const std::uint64_t before = base_ - abi::kProgramBase;
        require(std::ranges::all_of(room().first(before), is_elsewhere));
        require(std::ranges::all_of(room().subspan(before + size_), is_elsewhere));
    }

  private:
    static constexpr std::uint64_t kBegin = abi::kProgramBase + 64;

    std::atomic<bool> abandoned_{false};
    CodeRewriter rewriter_{memory(), abandoned_};
    std::uint64_t base_;
    std::uint64_t size_;
    std::uint64_t trampoline_used_ = 0;
};

// Mostly in the code.
std::uint64_t address(FuzzSource& source, const Guest& guest) {
    const std::uint16_t number = source.u16();
    return number < 0xff00 ? guest.base() + number % (guest.size() + 16) : ~std::uint64_t{0} - (number & 0xffU);
}

abi::Region region(FuzzSource& source, const Guest& guest) {
    const std::uint64_t at = address(source, guest);
    return {at, source.u8() == 0xff ? ~std::uint64_t{0} : source.u8()};
}

CodeHints hints(FuzzSource& source, const Guest& guest) {
    CodeHints hints;
    for (unsigned count = source.u8() % 8; count > 0; --count) {
        switch (source.u8() % 4) {
            case 0:
                hints.functions.push_back(address(source, guest));
                break;
            case 1:
                hints.labels.push_back(address(source, guest));
                break;
            case 2:
                hints.data.push_back(region(source, guest));
                break;
            default:
                hints.sections.push_back(region(source, guest));
        }
    }
    return hints;
}

// Whether what is known of code is still in the code.
bool act(FuzzSource& source, Guest& guest) {
    switch (source.u8() % 5) {
        case 0:
            guest.rewriter().scan_segment({guest.base(), guest.size()}, hints(source, guest));
            break;
        case 1:
            guest.rewriter().scan({guest.base(), guest.size()});
            break;
        case 2:
            guest.rewriter().scan(region(source, guest));
            return false;
        case 3: {  // only what a received state may hold
            CodeRanges& known = code_ranges(memory());
            known.count = source.u8();
            known.segment_count = source.u8();
            known.ranges[source.u8() % CodeRanges::kMax] = region(source, guest);
            known.segments[source.u8() % CodeRanges::kMaxSegments] = region(source, guest);
            return false;
        }
        default:
            guest.rewrite(address(source, guest));
    }
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    FuzzSource source(data, size);
    const bool at_end = source.u8() % 2 == 0;
    const std::size_t acts = source.u8();
    const auto plan = source.take(acts);
    const auto code = source.take(kMaxCode);
    if (code.empty()) {
        return 0;
    }
    Guest guest(code, at_end);
    FuzzSource steps(plan);
    bool inside = true;
    while (!steps.empty()) {
        inside &= act(steps, guest);
    }
    guest.rewriter().scan({guest.base(), guest.size()});
    guest.rewrite_all();
    if (inside) {
        guest.require_the_rest_untouched();
    }
    return 0;
}
