#include "hypervisor/machine/code_rewriter.hpp"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <array>
#include <limits>

#include "hypervisor/machine/platform.hpp"

namespace understudy::machine {
namespace {

constexpr std::uint64_t kSyscallLength = 2;
constexpr std::uint64_t kJumpLength = 5;
constexpr std::uint64_t kMaxInstruction = ZYDIS_MAX_INSTRUCTION_LENGTH;
constexpr std::uint64_t kTrampolineSize = 64;  // each trampoline's share
constexpr std::byte kNop{0x90};

std::optional<ZydisDecodedInstruction> decode(std::span<const std::byte> code) {
    // Initialization fills a few fields; one decoder for each call keeps this free of shared state.
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisDecodedInstruction instruction;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, code.data(), code.size(), &instruction))) {
        return std::nullopt;
    }
    return instruction;
}

std::uint8_t destination_register(const ZydisDecodedInstruction& instruction) {
    return static_cast<std::uint8_t>(instruction.raw.modrm.rm | (instruction.raw.rex.B << 3));
}

std::uint8_t by_width(const ZydisDecodedInstruction& instruction, std::uint8_t port16) {
    const std::uint8_t step = instruction.operand_width == 16 ? 0x00 : instruction.operand_width == 32 ? 0x10 : 0x20;
    return static_cast<std::uint8_t>(port16 + step + destination_register(instruction));
}

// The port whose OUT stands in for the instruction, if it is one of the nondeterministic ones.
std::optional<std::uint8_t> stand_in(const ZydisDecodedInstruction& instruction) {
    switch (instruction.mnemonic) {
        case ZYDIS_MNEMONIC_RDTSC:
            return abi::kPortRdtsc;
        case ZYDIS_MNEMONIC_RDTSCP:
            return abi::kPortRdtscp;
        case ZYDIS_MNEMONIC_CPUID:
            return abi::kPortCpuid;
        case ZYDIS_MNEMONIC_XGETBV:
            return abi::kPortXgetbv;
        case ZYDIS_MNEMONIC_RDRAND:
            return by_width(instruction, abi::kPortRdrand16);
        case ZYDIS_MNEMONIC_RDSEED:
            return by_width(instruction, abi::kPortRdseed16);
        case ZYDIS_MNEMONIC_RDPID:
            return static_cast<std::uint8_t>(abi::kPortRdpid + destination_register(instruction));
        default:
            return std::nullopt;
    }
}

bool position_independent(const ZydisDecodedInstruction& instruction) {
    if ((instruction.attributes & ZYDIS_ATTRIB_IS_RELATIVE) != 0) {
        return false;
    }
    switch (instruction.meta.category) {
        case ZYDIS_CATEGORY_CALL:
        case ZYDIS_CATEGORY_COND_BR:
        case ZYDIS_CATEGORY_UNCOND_BR:
        case ZYDIS_CATEGORY_RET:
        case ZYDIS_CATEGORY_INTERRUPT:
        case ZYDIS_CATEGORY_SYSCALL:
        case ZYDIS_CATEGORY_SYSTEM:
        case ZYDIS_CATEGORY_IO:
            return false;
        default:
            return true;
    }
}

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
    : base_(base), starts_(code.size()), targets_(code.size()) {
    sweep(code, [&](std::size_t offset, const ZydisDecodedInstruction& instruction) {
        starts_[offset] = true;
        for (const auto& immediate : instruction.raw.imm) {
            if (immediate.size != 0 && immediate.is_relative) {
                const std::uint64_t target = offset + instruction.length + immediate.value.u;
                if (target < targets_.size()) {
                    targets_[target] = true;
                }
            }
        }
    });
}

std::optional<std::size_t> CodeRewriter::scan(abi::Region range) {
    const auto code = memory_.range({range.base}, range.size);
    CodeRanges& known = code_ranges(memory_);
    if (!code) {
        return std::nullopt;
    }
    std::size_t replaced = 0;
    sweep(*code, [&](std::size_t offset, const ZydisDecodedInstruction& instruction) {
        if (const auto port = stand_in(instruction)) {
            const auto bytes = code->subspan(offset, instruction.length);
            std::fill(bytes.begin(), bytes.end(), kNop);
            bytes[0] = std::byte{0xe7};
            bytes[1] = std::byte{*port};
            ++replaced;
        }
    });
    const auto listed = std::span(known.ranges).first(std::min(known.count, CodeRanges::kMax));
    const bool seen = std::any_of(listed.begin(), listed.end(), [&](const abi::Region& old) {
        return range.base >= old.base && range.base + range.size <= old.base + old.size;
    });
    if (!seen && known.count < CodeRanges::kMax) {
        known.ranges[known.count++] = range;
    }
    maps_.clear();
    return replaced;
}

const CodeMap* CodeRewriter::map_of(std::uint64_t address) {
    if (maps_.empty()) {
        const CodeRanges& known = code_ranges(memory_);
        for (std::uint64_t i = 0; i < std::min(known.count, CodeRanges::kMax); ++i) {
            if (const auto code = memory_.range({known.ranges[i].base}, known.ranges[i].size)) {
                maps_.emplace_back(*code, known.ranges[i].base);
            }
        }
    }
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
std::optional<std::uint64_t> CodeRewriter::end_behind(std::uint64_t site, std::uint64_t start) const {
    std::uint64_t end = site + kSyscallLength;
    while (end - start < kJumpLength) {
        const auto bytes = memory_.range({end}, kMaxInstruction);
        const auto instruction = bytes ? decode(*bytes) : std::nullopt;
        if (!instruction || !position_independent(*instruction)) {
            return std::nullopt;
        }
        end += instruction->length;
    }
    return end;
}

std::optional<CodeRewriter::Plan> CodeRewriter::plan(std::uint64_t site) {
    const CodeMap* map = map_of(site);
    if (map == nullptr || !map->is_start(site)) {
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
        const auto end = end_behind(site, start);
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
