#include "hypervisor/machine/code/finder.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "hypervisor/machine/code/instruction.hpp"

namespace understudy::machine {
namespace {

constexpr std::uint64_t kFunctionAlignment = 16;
// Bytes that somebody chose may look like a stretch, a jump table or a chain of such tables without an end.
constexpr std::size_t kMaxStretch = 1U << 16U;  // instructions that are decided on as a whole
constexpr std::uint64_t kMaxTableEntries = 1U << 14U;
constexpr unsigned kMaxTableRounds = 64;

// What is known of one byte.
enum Mark : std::uint8_t {
    kStart = 1,     // an instruction starts here
    kInside = 2,    // it belongs to one that started before
    kFunction = 4,  // called, or a function symbol's
    kData = 8,
    kAccessed = 16,  // a known instruction reads or writes here
    kLocked = 32,    // kStart, and the instruction's first byte is a LOCK prefix: it may be jumped over
    kNamed = 64,     // a hint names it: no instruction reaches over it
    kDead = 128,     // what begins here runs into what is no code, as far as is known in this round
};

// One instruction of a stretch that is not decided yet.
struct Step {
    std::size_t offset;
    std::uint8_t length;
    std::optional<std::uint8_t> port;
    std::optional<std::uint64_t> target;  // of a direct jump or call
    std::optional<std::uint64_t> named;   // an address among its operands
    bool accesses = false;                // it reads or writes `named`, or jumps through it
    bool call = false;
    bool locked = false;
    bool may_not_return = false;  // a call or a system call
    bool ends = false;
    bool filler = false;
};

enum class Trust { vouched, sense };

struct Candidate {
    NondeterministicInstruction instruction;
    Trust trust;
    std::size_t from, to;  // its stretch
};

class Finder {
  public:
    Finder(GuestMemory& memory, abi::Region range, const CodeHints& hints, const std::atomic<bool>& abandoned)
        : memory_(memory),
          abandoned_(abandoned),
          base_(range.base),
          code_(*memory.range({range.base}, range.size)),
          marks_(code_.size()) {
        mark_data(hints);
        for (const std::uint64_t address : hints.functions) {
            vouch(address, true);
        }
        for (const std::uint64_t address : hints.labels) {
            if (here(address)) {
                marks_[address - base_] |= kNamed;
            }
        }
        follow_vouched();
        fill_gaps(hints.nothing_known());
        labels_.insert(labels_.end(), hints.labels.begin(), hints.labels.end());
        follow_labels();
        fill_gaps(hints.nothing_known());
        for (unsigned round = 0; round < kMaxTableRounds && read_jump_tables(); ++round) {
            fill_gaps(hints.nothing_known());
        }
    }

    FoundCode result() {
        FoundCode found;
        std::pair<std::size_t, std::size_t> looked_at;  // those of a stretch follow each other
        for (const Candidate& candidate : candidates_) {
            const std::pair stretch(candidate.from, candidate.to);
            if (std::exchange(looked_at, stretch) != stretch && candidate.trust == Trust::sense &&
                accessed(candidate.from, candidate.to)) {
                set(base_ + candidate.from, base_ + candidate.to, kStart | kInside, false);
            }
        }
        for (const Candidate& candidate : candidates_) {
            if (has(candidate.instruction.address - base_, kStart)) {
                found.nondeterministic.push_back(candidate.instruction);
            }
        }
        std::ranges::sort(found.nondeterministic);
        for (std::size_t at = 0; at < marks_.size();) {
            const std::size_t end = end_of(at, [&](std::uint8_t mark) { return (mark & (kStart | kInside)) != 0; });
            if (end > at) {
                found.ranges.push_back({base_ + at, end - at});
            }
            at = end + 1;
        }
        return found;
    }

  private:
    [[nodiscard]] bool here(std::uint64_t address) const { return address - base_ < marks_.size(); }
    [[nodiscard]] bool has(std::size_t offset, std::uint8_t mark) const { return (marks_[offset] & mark) != 0; }
    template <typename Predicate>
    [[nodiscard]] std::size_t end_of(std::size_t at, Predicate predicate) const {
        const auto begin = marks_.begin() + static_cast<std::ptrdiff_t>(at);
        return static_cast<std::size_t>(std::find_if_not(begin, marks_.end(), predicate) - marks_.begin());
    }
    [[nodiscard]] bool accessed(std::size_t from, std::size_t to) const {
        return std::any_of(marks_.begin() + static_cast<std::ptrdiff_t>(from),
                           marks_.begin() + static_cast<std::ptrdiff_t>(to),
                           [](std::uint8_t mark) { return (mark & kAccessed) != 0; });
    }

    void set(std::uint64_t from, std::uint64_t to, std::uint8_t marks, bool on) {
        from = std::clamp(from, base_, base_ + marks_.size());
        to = std::clamp(to, from, base_ + marks_.size());
        for (std::uint64_t address = from; address < to; ++address) {
            std::uint8_t& mark = marks_[address - base_];
            mark = static_cast<std::uint8_t>(on ? mark | marks : mark & ~marks);
        }
    }
    void mark_data(const CodeHints& hints) {
        if (!hints.sections.empty()) {
            std::ranges::fill(marks_, std::uint8_t{kData});
        }
        set_all(hints.sections, kData, false);
        set_all(hints.data, kData, true);
    }
    // Each byte once, however many of the regions it lies in.
    void set_all(std::vector<abi::Region> regions, std::uint8_t marks, bool on) {
        std::ranges::sort(regions, {}, &abi::Region::base);
        std::uint64_t done = 0;
        for (const abi::Region& region : regions) {
            const std::uint64_t end = region.base + region.size;
            set(std::max(region.base, done), end, marks, on);
            done = std::max(done, end);
        }
    }

    void vouch(std::uint64_t address, bool function) {
        if (here(address) && !has(address - base_, kData)) {
            marks_[address - base_] |= function ? kFunction : 0;
            vouched_.push_back(address - base_);
        }
    }

    void follow_vouched() {
        while (!vouched_.empty() && !abandoned_) {
            const std::size_t at = vouched_.back();
            vouched_.pop_back();
            walk(at, Trust::vouched);
        }
    }
    void follow_labels() {
        while (!labels_.empty() && !abandoned_) {
            const std::uint64_t label = labels_.back();
            labels_.pop_back();
            if (here(label)) {
                walk(label - base_, Trust::sense);
            }
        }
    }

    // From `at` to the next unconditional transfer or known instruction. Returns where it ended, nothing if not code.
    std::optional<std::size_t> walk(std::size_t at, Trust trust) {
        stretch_.clear();
        const std::size_t from = at;
        bool sense = true;
        while (at < marks_.size() && !has(at, kStart)) {
            const auto step = step_at(at);
            sense = step && !has(at, kData) && (trust == Trust::vouched || (makes_sense(*step) && !has(at, kDead)));
            if (!sense) {
                break;
            }
            stretch_.push_back(*step);
            at += step->length;
            if (step->ends) {
                return commit(trust, from, at);
            }
            if (stretch_.size() == kMaxStretch) {
                follow_branch(base_ + at, false, trust);
                return commit(trust, from, at);
            }
        }
        if (sense && ends_well(at, trust, last_meant())) {
            return commit(trust, from, at);
        }
        // It ran into what is no code, so one of its calls does not return: the last, as far as can be told.
        const auto last =
            std::find_if(stretch_.rbegin(), stretch_.rend(), [](const Step& step) { return step.may_not_return; });
        if (last == stretch_.rend() && trust == Trust::sense) {
            for (const Step& step : stretch_) {
                marks_[step.offset] |= kDead;
            }
            return std::nullopt;
        }
        if (last != stretch_.rend()) {
            stretch_.erase(last.base(), stretch_.end());
            at = stretch_.back().offset + stretch_.back().length;
        }
        return commit(trust, from, at);
    }

    [[nodiscard]] const Step* last_meant() const {
        const auto last =
            std::find_if(stretch_.rbegin(), stretch_.rend(), [](const Step& step) { return !step.filler; });
        return last == stretch_.rend() ? nullptr : &*last;
    }

    // A stretch ends before `at` without an unconditional transfer. May it go on there? `last` is its last instruction
    // that is no filler.
    [[nodiscard]] bool ends_well(std::size_t at, Trust trust, const Step* last) const {
        const bool into_code = at < marks_.size() && has(at, kStart);
        if (trust == Trust::vouched) {
            return into_code;
        }
        return last == nullptr || last->ends || last->may_not_return || (into_code && !has(at, kFunction));
    }

    [[nodiscard]] std::optional<Step> step_at(std::size_t at) const {
        const auto instruction = decode(std::span<const std::byte>(code_).subspan(at));
        if (!instruction || !plausible(*instruction)) {
            return std::nullopt;
        }
        Step step{at, instruction->length, stand_in(*instruction), branch_target(*instruction, base_ + at), {}};
        step.call = instruction->meta.category == ZYDIS_CATEGORY_CALL;
        step.may_not_return = step.call || instruction->meta.category == ZYDIS_CATEGORY_SYSCALL;
        step.locked = code_[at] == std::byte{0xf0};
        step.ends = ends_flow(*instruction);
        step.filler = instruction->meta.category == ZYDIS_CATEGORY_NOP ||
                      instruction->meta.category == ZYDIS_CATEGORY_WIDENOP ||
                      instruction->mnemonic == ZYDIS_MNEMONIC_INT3;
        name_operand(*instruction, step);
        return step;
    }

    // The address that an instruction names: RIP-relative, absolute, or as a constant.
    void name_operand(const Instruction& instruction, Step& step) const {
        const auto& raw = instruction.raw;
        if ((instruction.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0 && raw.modrm.mod != 3 && raw.disp.size == 32) {
            const bool relative = raw.modrm.mod == 0 && raw.modrm.rm == 5;
            step.named =
                static_cast<std::uint64_t>(raw.disp.value) + (relative ? base_ + step.offset + instruction.length : 0);
            step.accesses = instruction.mnemonic != ZYDIS_MNEMONIC_LEA && !step.filler;
        } else if (!step.target && raw.imm[0].size >= 32) {
            step.named = raw.imm[0].value.u;
        }
    }

    [[nodiscard]] bool makes_sense(const Step& step) const {
        for (std::size_t at = step.offset; at < step.offset + step.length; ++at) {
            if (has(at, kStart | kInside | kData) || (at != step.offset && has(at, kNamed))) {
                return false;
            }
        }
        if (!step.target) {
            return true;
        }
        const std::uint64_t target = *step.target;
        if (!here(target)) {
            return target < memory_.size().value;
        }
        const std::size_t at = target - base_;
        const bool into_middle = has(at, kInside) && !has(at, kStart) && (at == 0 || !has(at - 1, kLocked));
        return !into_middle && !has(at, kData);
    }

    std::size_t commit(Trust trust, std::size_t from, std::size_t to) {
        for (const Step& step : stretch_) {
            marks_[step.offset] |= step.locked ? kStart | kLocked : kStart;
            for (std::size_t at = step.offset + 1; at < step.offset + step.length; ++at) {
                marks_[at] |= kInside;
            }
            if (step.port) {
                candidates_.push_back({{base_ + step.offset, step.length, *step.port}, trust, from, to});
            }
            if (step.target && here(*step.target)) {
                follow_branch(*step.target, step.call, trust);
            }
            if (step.named) {
                take_name(*step.named, step.accesses);
            }
        }
        return to;
    }

    void follow_branch(std::uint64_t target, bool call, Trust trust) {
        if (trust == Trust::vouched) {
            vouch(target, call);
        } else {
            labels_.push_back(target);
        }
    }

    void take_name(std::uint64_t address, bool accesses) {
        if (here(address)) {
            if (accesses) {
                marks_[address - base_] |= kAccessed;
            } else if (!has(address - base_, kStart)) {
                labels_.push_back(address);
            }
        } else if (!accesses && tables_.insert(address).second) {
            unread_tables_.push_back(address);
        }
    }

    bool read_jump_tables() {
        const std::vector<std::uint64_t> unread = std::exchange(unread_tables_, {});
        for (const std::uint64_t table : unread) {
            read_jump_table(table);
        }
        return !unread.empty();
    }

    // Compilers' jump tables hold distances from their own begin. Where one ends is written nowhere: at the next one,
    // or at the first entry that leads to no instruction.
    void read_jump_table(std::uint64_t table) {
        const auto next = tables_.upper_bound(table);
        const std::uint64_t most = table + kMaxTableEntries * sizeof(std::int32_t);
        const std::uint64_t end = std::min(most, next == tables_.end() ? memory_.size().value : *next);
        for (std::uint64_t at = table; at + sizeof(std::int32_t) <= end; at += sizeof(std::int32_t)) {
            const auto distance = memory_.read<std::int32_t>({at});
            const std::uint64_t target = table + static_cast<std::uint64_t>(std::int64_t{distance.value_or(0)});
            if (!distance || !here(target) || !walk(target - base_, Trust::sense)) {
                return;
            }
            follow_labels();
        }
    }

    void fill_gaps(bool nothing_known) {
        set(base_, base_ + marks_.size(), kDead, false);
        const auto known = [](std::uint8_t mark) { return (mark & (kStart | kInside | kData)) != 0; };
        for (std::size_t at = end_of(0, known); at < marks_.size() && !abandoned_; at = end_of(at, known)) {
            const std::size_t end = end_of(at, [&](std::uint8_t mark) { return !known(mark); });
            if (nothing_known) {
                fill_piecewise(at, end);
            } else {
                fill_whole(at, end);
            }
            at = end;
        }
    }

    // The gap is code as a whole or not at all.
    void fill_whole(std::size_t from, std::size_t end) {
        std::optional<Step> last;  // that is no filler
        std::size_t at = from;
        while (at < end) {
            const auto step = step_at(at);
            if (!step || !makes_sense(*step)) {
                return;
            }
            if (!step->filler) {
                last = step;
            }
            at += step->length;
        }
        if (!ends_well(at, Trust::sense, last ? &*last : nullptr)) {
            return;
        }
        for (at = from; at < end;) {
            stretch_.clear();
            while (at < end && stretch_.size() < kMaxStretch) {
                stretch_.push_back(*step_at(at));
                at += stretch_.back().length;
            }
            commit(Trust::sense, from, end);
        }
    }

    void fill_piecewise(std::size_t at, std::size_t end) {
        while (at < end && !abandoned_) {
            if (has(at, kStart | kInside)) {
                ++at;
            } else if (const auto behind = walk(at, Trust::sense); behind && *behind > at) {
                at = *behind;
                follow_labels();
            } else {
                at += kFunctionAlignment - (base_ + at) % kFunctionAlignment;
            }
        }
    }

    GuestMemory& memory_;
    const std::atomic<bool>& abandoned_;
    std::uint64_t base_;
    std::span<std::byte> code_;
    std::vector<std::uint8_t> marks_;
    std::vector<std::size_t> vouched_;
    std::vector<std::uint64_t> labels_;
    std::set<std::uint64_t> tables_;
    std::vector<std::uint64_t> unread_tables_;
    std::vector<Step> stretch_;
    std::vector<Candidate> candidates_;
};

}  // namespace

FoundCode find_code(GuestMemory& memory, abi::Region range, const CodeHints& hints,
                    const std::atomic<bool>& abandoned) {
    return Finder(memory, range, hints, abandoned).result();
}

}  // namespace understudy::machine
