#include "hypervisor/machine/code/rewriter.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "hypervisor/machine/code/instruction.hpp"
#include "hypervisor/machine/platform.hpp"

namespace understudy::machine {
namespace {

constexpr std::uint64_t kSyscallLength = 2;
constexpr std::uint64_t kJumpLength = 5;
constexpr std::uint64_t kMaxInstruction = ZYDIS_MAX_INSTRUCTION_LENGTH;
constexpr std::uint64_t kTrampolineSize = 64;  // each trampoline's share
constexpr std::byte kNop{0x90};
constexpr std::uint64_t kPieceBytes = 4U << 20U;

// Calls visit(offset, instruction) for each instruction of a linear sweep; undecodable bytes are skipped one by one.
template <typename Visitor>
void sweep(std::span<const std::byte> code, Visitor visit) {
    for (std::size_t offset = 0; offset < code.size();) {
        const auto instruction = decode(code.subspan(offset));
        if (!instruction) {
            ++offset;
            continue;
        }
        visit(offset, *instruction);
        offset += instruction->length;
    }
}

// Assembles a trampoline at a known address.
class Assembler {
  public:
    explicit Assembler(std::uint64_t at) : at_(at) {}

    void copy(std::span<const std::byte> bytes) { code_.insert(code_.end(), bytes.begin(), bytes.end()); }
    // lea target(%rip), %rcx; false when out of reach.
    bool load_rcx(std::uint64_t target) { return put_relative({0x48, 0x8d, 0x0d}, target); }
    bool jump(std::uint64_t target) { return put_relative({0xe9}, target); }
    [[nodiscard]] std::uint64_t here() const { return at_ + code_.size(); }
    [[nodiscard]] const std::vector<std::byte>& code() const { return code_; }

  private:
    bool put_relative(std::initializer_list<std::uint8_t> opcode, std::uint64_t target) {
        for (const std::uint8_t byte : opcode) {
            code_.push_back(std::byte{byte});
        }
        const auto distance = static_cast<std::int64_t>(target - (here() + 4));
        for (int shift = 0; shift < 32; shift += 8) {
            code_.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(distance) >> shift));
        }
        return distance >= std::numeric_limits<std::int32_t>::min() &&
               distance <= std::numeric_limits<std::int32_t>::max();
    }

    std::uint64_t at_;
    std::vector<std::byte> code_;
};

}  // namespace

CodeMap::CodeMap(std::span<const std::byte> code, std::uint64_t base)
    : base_(base), digest_(digest(code)), starts_(code.size()), targets_(code.size()) {
    sweep(code, [&](std::size_t offset, const Instruction& instruction) {
        starts_[offset] = true;
        if (const auto target = branch_target(instruction, base + offset)) {
            if (contains(*target)) {
                targets_[*target - base] = true;
            } else {
                outside_targets_.push_back(*target);
            }
        }
    });
    std::ranges::sort(outside_targets_);
}

bool CodeMap::is_target(std::uint64_t address) const {
    return contains(address) ? targets_[address - base_] : std::ranges::binary_search(outside_targets_, address);
}

std::optional<std::size_t> CodeRewriter::scan_segment(abi::Region segment, const CodeHints& hints) {
    if (!memory_.range({segment.base}, segment.size)) {
        return std::nullopt;
    }
    CodeRanges& known = code_ranges(memory_);
    if (known.segment_count < CodeRanges::kMaxSegments) {
        known.segments[known.segment_count++] = segment;
    }
    return replace_in(segment, hints).nondeterministic.size();
}

std::optional<std::size_t> CodeRewriter::scan(abi::Region range) {
    if (range.base < abi::kProgramBase || !memory_.range({range.base}, range.size)) {
        return std::nullopt;
    }
    const CodeRanges known = code_ranges(memory_);
    const std::uint64_t end = range.base + range.size;
    std::size_t replaced = 0;
    std::uint64_t at = range.base;
    while (at < end) {
        const auto segments = std::span(known.segments).first(std::min(known.segment_count, CodeRanges::kMaxSegments));
        const auto inside = std::ranges::find_if(segments, [&](const abi::Region& segment) {
            return at - segment.base < segment.size && memory_.range({segment.base}, segment.size);
        });
        if (inside != segments.end()) {
            at = inside->base + inside->size;
            continue;
        }
        std::uint64_t next = end;
        for (const abi::Region& segment : segments) {
            next = segment.base > at ? std::min(next, segment.base) : next;
        }
        replaced += replace_in_pieces({at, next - at});
        at = next;
    }
    return replaced + replace_in_segments(range);
}

// What the search keeps in mind is in proportion to what it searches at once, which is the guest's to choose.
std::size_t CodeRewriter::replace_in_pieces(abi::Region range) {
    std::size_t replaced = 0;
    while (range.size > 0 && !abandoned_) {
        const std::uint64_t size = std::min(range.size, kPieceBytes);
        const FoundCode found = replace_in({range.base, size}, {});
        replaced += found.nondeterministic.size();
        // An instruction may reach from one piece into the next: that begins where the last known one ended.
        std::uint64_t done = size;
        if (size < range.size && !found.ranges.empty()) {
            const std::uint64_t end = found.ranges.back().base + found.ranges.back().size - range.base;
            done = size - end < kMaxInstruction ? end : size;
        }
        range = {range.base + done, range.size - done};
    }
    return replaced;
}

// Of the program's own segments only what was code is searched again, from begins that are instructions.
std::size_t CodeRewriter::replace_in_segments(abi::Region range) {
    const CodeRanges known = code_ranges(memory_);
    std::size_t replaced = 0;
    for (const abi::Region& code : std::span(known.ranges).first(std::min(known.count, CodeRanges::kMax))) {
        const auto holds = [&](const abi::Region& segment) { return code.base - segment.base < segment.size; };
        const bool wanted = code.base < range.base + range.size && range.base < code.base + code.size;
        const auto segments = std::span(known.segments).first(std::min(known.segment_count, CodeRanges::kMaxSegments));
        if (wanted && std::ranges::any_of(segments, holds) && memory_.range({code.base}, code.size)) {
            CodeHints hints;
            hints.functions.push_back(code.base);
            replaced += replace_in(code, hints).nondeterministic.size();
        }
    }
    return replaced;
}

FoundCode CodeRewriter::replace_in(abi::Region range, const CodeHints& hints) {
    FoundCode found = find_code(memory_, range, hints, abandoned_);
    for (const NondeterministicInstruction& instruction : found.nondeterministic) {
        const auto bytes = *memory_.range({instruction.address}, instruction.length);
        std::ranges::fill(bytes, kNop);
        bytes[0] = std::byte{0xe7};
        bytes[1] = std::byte{instruction.port};
    }
    remember(found.ranges);
    return found;
}

// The longest first: where there is no room for all, those without most system calls are left out.
void CodeRewriter::remember(std::vector<abi::Region> found) {
    CodeRanges& known = code_ranges(memory_);
    std::ranges::stable_sort(found, [](const abi::Region& a, const abi::Region& b) { return a.size > b.size; });
    for (const abi::Region& range : found) {
        const auto listed = std::span(known.ranges).first(std::min(known.count, CodeRanges::kMax));
        const bool seen = std::ranges::any_of(listed, [&](const abi::Region& old) {
            return range.base >= old.base && range.base + range.size <= old.base + old.size;
        });
        if (!seen && known.count < CodeRanges::kMax) {
            known.ranges[known.count++] = range;
        }
    }
}

// Ranges may overlap: sites in those that all of memory has no room for keep trapping.
void CodeRewriter::update_maps() {
    const CodeRanges& known = code_ranges(memory_);
    std::vector<CodeMap> maps;
    std::uint64_t room = memory_.size().value;
    for (const abi::Region& range : std::span(known.ranges).first(std::min(known.count, CodeRanges::kMax))) {
        const auto code = memory_.range({range.base}, range.size);
        if (!code || range.size > room) {
            continue;
        }
        room -= range.size;
        const auto old = std::ranges::find_if(maps_, [&](const CodeMap& map) { return map.shows(*code, range.base); });
        if (old != maps_.end()) {
            maps.push_back(std::move(*old));
        } else {
            maps.emplace_back(*code, range.base);
        }
    }
    maps_ = std::move(maps);
}

const CodeMap* CodeRewriter::map_of(std::uint64_t address) const {
    const auto found =
        std::find_if(maps_.begin(), maps_.end(), [&](const CodeMap& map) { return map.contains(address); });
    return found == maps_.end() ? nullptr : &*found;
}

bool CodeRewriter::movable(std::uint64_t from, std::uint64_t to) const {
    for (std::uint64_t at = from; at < to;) {
        const auto instruction = decode(*memory_.range({at}, std::min(to - at, kMaxInstruction)));
        if (!instruction || !position_independent(*instruction)) {
            return false;
        }
        at += instruction->length;
    }
    return true;
}

bool CodeRewriter::jumped_into(std::uint64_t from, std::uint64_t to) const {
    for (std::uint64_t at = from + 1; at < to; ++at) {
        if (std::any_of(maps_.begin(), maps_.end(), [&](const CodeMap& map) { return map.is_target(at); })) {
            return true;
        }
    }
    return false;
}

// The first instruction boundary behind the site that makes [start, E) long enough for a jump.
std::optional<std::uint64_t> CodeRewriter::end_behind(const CodeMap& map, std::uint64_t site,
                                                      std::uint64_t start) const {
    std::uint64_t end = site + kSyscallLength;
    while (end - start < kJumpLength) {
        const auto bytes = memory_.range({end}, std::min(kMaxInstruction, map.end() - std::min(end, map.end())));
        const auto instruction = bytes && map.is_start(end) ? decode(*bytes) : std::nullopt;
        if (!instruction || !position_independent(*instruction)) {
            return std::nullopt;
        }
        end += instruction->length;
    }
    return end;
}

// The guest says where it executed one, and may say anything.
bool CodeRewriter::is_system_call(const CodeMap& map, std::uint64_t site) const {
    const auto bytes = memory_.range({site}, std::min(kSyscallLength, map.end() - site));
    const auto instruction = bytes ? decode(*bytes) : std::nullopt;
    return instruction && instruction->mnemonic == ZYDIS_MNEMONIC_SYSCALL;
}

std::optional<CodeRewriter::Plan> CodeRewriter::plan(std::uint64_t site) {
    update_maps();
    const CodeMap* map = map_of(site);
    if (map == nullptr || !map->is_start(site) || !is_system_call(*map, site)) {
        return std::nullopt;
    }
    for (std::uint64_t start = site - kJumpLength; start >= site - kMaxInstruction; --start) {
        if (map->is_start(start) && movable(start, site) && !jumped_into(start, site)) {
            return Plan{start, site};
        }
    }
    for (std::uint64_t start = site; start > site - kJumpLength; --start) {
        if (!map->is_start(start) || !movable(start, site)) {
            continue;
        }
        const auto end = end_behind(*map, site, start);
        if (end && !jumped_into(start, *end)) {
            return Plan{start, *end};
        }
    }
    return std::nullopt;
}

std::optional<std::uint64_t> CodeRewriter::rewrite_site(GuestAddress site, std::uint64_t syscall_entry,
                                                        std::uint64_t& trampoline_used) {
    const auto chosen = plan(site.value);
    const std::uint64_t at = abi::kTrampolineBase + trampoline_used;
    if (!chosen || at + kTrampolineSize > abi::kTrampolineLimit) {
        return std::nullopt;
    }
    const std::uint64_t behind = site.value + kSyscallLength;
    const bool site_stays = chosen->end == site.value;
    Assembler trampoline(at);
    trampoline.copy(*memory_.range({chosen->start}, site.value - chosen->start));
    constexpr std::uint64_t kJumpAndLoad = 7 + kJumpLength;
    const std::uint64_t continuation = site_stays ? behind : trampoline.here() + kJumpAndLoad;
    bool reachable = trampoline.load_rcx(continuation);
    reachable &= trampoline.jump(syscall_entry);
    if (!site_stays) {
        trampoline.copy(*memory_.range({behind}, chosen->end - behind));
        reachable &= trampoline.jump(chosen->end);
    }
    Assembler patch(chosen->start);
    reachable &= patch.jump(at);
    if (!reachable || trampoline.code().size() > kTrampolineSize) {
        return std::nullopt;
    }
    const auto replaced = *memory_.range({chosen->start}, chosen->end - chosen->start);
    std::fill(replaced.begin(), replaced.end(), kNop);
    std::copy(patch.code().begin(), patch.code().end(), replaced.begin());
    const auto home = *memory_.range({at}, kTrampolineSize);
    std::copy(trampoline.code().begin(), trampoline.code().end(), home.begin());
    trampoline_used += kTrampolineSize;
    return continuation;
}

}  // namespace understudy::machine
