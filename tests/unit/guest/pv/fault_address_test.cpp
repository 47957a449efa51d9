// What the layer says of a page fault, against what the host's processor says of the same instruction.
#include "guest/pv/fault_address.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>

#include "tests/unit/guest/pv/corpus.hpp"
#include "tests/unit/guest/pv/page_table_model.hpp"
#include "tests/unit/guest/pv/processor.hpp"

namespace understudy::pv {
namespace {

constexpr u64 kPageFault = 14;

PageTableModel tables_of(const Arena& arena) {
    PageTableModel model;
    for (unsigned page = 0; page < Arena::kPages; ++page) {
        if (Arena::kind(page) != Arena::Kind::none) {
            model.map(arena.begin() + page * kPageBytes, page * kPageBytes,
                      kUser | kNoExecute | (Arena::kind(page) == Arena::Kind::writable ? u64{kWritable} : 0));
        }
    }
    model.map(arena.code(), 0, kUser | kWritable);
    return model;
}

std::string describe(const Case& made, const Outcome& outcome) {
    return fmt::format("{} [{:02x}]: error {:#x}, processor {:#x}", made.decoded.name(), fmt::join(made.code, " "),
                       outcome.frame.error_code, outcome.address);
}

// The corpus of one seed. UNDERSTUDY_SEED chooses another; UNDERSTUDY_ROUNDS more of it.
u64 from_environment(const char* name, u64 otherwise) {
    const char* const text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

// Processors look at the state of FXSAVE and its kin in whatever order they like, its end first, say. The layer says
// where it begins, or where a page begins in it.
bool names_state(const Decoded& decoded) {
    static constexpr std::array kNames = {"fxsave", "fxrstor", "xsave", "fnsave", "frstor", "fnstenv", "fldenv"};
    const std::string name = decoded.name();
    return std::ranges::any_of(kNames, [&](const char* start) { return name.starts_with(start); });
}

// Where both of its operands fault, some processors look at the one first and some at the other. The layer says always
// the same, whatever processor a replica has: either is a fault that the kernel has to mend.
bool has_two_sources(const Decoded& decoded) {
    return std::string(decoded.name()).starts_with("cmps") &&
           decoded.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
}

// What the decoder leaves to CR2 on purpose.
bool may_be_unknown(const Case& made, const Outcome& outcome) {
    static const std::set<std::string> left_out = {"bt", "btc", "btr", "bts", "enter", "iret", "iretd", "iretq",
                                                   "maskmovq", "maskmovdqu", "vmaskmovdqu", "vmaskmovpd", "vmaskmovps",
                                                   "vpmaskmovd", "vpmaskmovq", "movdir64b", "enqcmd", "enqcmds",
                                                   // with an operand of 16 bits; far
                                                   "call", "ret", "jmp"};
    // At a page's start, where an operand may have come from the page before.
    const bool evex = made.decoded.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
    return evex || left_out.contains(made.decoded.name()) || outcome.address % kPageBytes == 0 ||
           names_state(made.decoded);
}

class FaultAddressTest : public testing::Test {
  protected:
    // Faults only, of the instruction itself.
    std::optional<Outcome> fault_of(const Case& made) {
        arena_.clear();
        arena_.put(made.code);
        const Outcome outcome = execute(made.frame, Corpus::kGsBase);
        const bool is_one = outcome.trap == kPageFault && outcome.frame.rip == arena_.code();
        return is_one ? std::optional(outcome) : std::nullopt;
    }

    FaultAddress decoded(const Outcome& outcome) {
        const Context context{&outcome.frame, fs_base(), Corpus::kGsBase};
        return fault_address(context, model_.tables(), PageTableModel::root());
    }

    void compare(const Case& made, const Outcome& outcome) {
        const FaultAddress found = decoded(outcome);
        ++faults_;
        known_ += found.known ? 1 : 0;
        if (!found.known) {
            EXPECT_TRUE(may_be_unknown(made, outcome)) << describe(made, outcome);
        } else if (names_state(made.decoded)) {
            EXPECT_LE(found.address, outcome.address) << describe(made, outcome);
        } else if (has_two_sources(made.decoded)) {
            EXPECT_TRUE(justified(model_.tables(), PageTableModel::root(), found.address, outcome.frame.error_code))
                << fmt::format("layer {:#x}: ", found.address) << describe(made, outcome);
        } else {
            EXPECT_EQ(found.address, outcome.address)
                << fmt::format("layer {:#x}: ", found.address) << describe(made, outcome);
        }
        if (reads_and_writes(made.code.data())) {
            EXPECT_NE(outcome.frame.error_code & kFaultWrite, 0U) << describe(made, outcome);
        }
    }

    Arena arena_;
    PageTableModel model_ = tables_of(arena_);
    u64 faults_ = 0;
    u64 known_ = 0;
};

TEST_F(FaultAddressTest, IsTheProcessors) {
    const u64 seed = from_environment("UNDERSTUDY_SEED", 1);
    const u64 rounds = from_environment("UNDERSTUDY_ROUNDS", 60);
    SCOPED_TRACE(fmt::format("UNDERSTUDY_SEED={} UNDERSTUDY_ROUNDS={}", seed, rounds));
    Corpus corpus(arena_, seed);
    std::set<std::string> names;
    for (u64 i = 0; i < rounds * Corpus::kMaps * 256; ++i) {
        const auto made = corpus.make(static_cast<u8>(i / 256 % Corpus::kMaps), static_cast<u8>(i % 256));
        const auto outcome = made ? fault_of(*made) : std::nullopt;
        if (outcome) {
            names.insert(made->decoded.name());
            compare(*made, *outcome);
        }
        if (HasFailure() && i > 20'000) {
            break;  // enough to see what is wrong
        }
    }
    RecordProperty("faults", static_cast<int>(faults_));
    RecordProperty("instructions", static_cast<int>(names.size()));
    EXPECT_GT(faults_, rounds * 50);
    EXPECT_GT(names.size(), 150U);
    EXPECT_GT(known_ * 100, faults_ * 85);
}

// Against Zydis: the processor's error code does not tell a read before a write.
TEST_F(FaultAddressTest, TellsWhatReadsAndWrites) {
    Corpus corpus(arena_, 2);
    std::set<std::string> different;
    for (u64 i = 0; i < u64{40} * 4 * 256; ++i) {
        const auto made = corpus.make(static_cast<u8>(i / 256 % 4), static_cast<u8>(i % 256));
        if (!made) {
            continue;
        }
        const bool by_zydis = std::ranges::any_of(made->decoded.all(), [](const ZydisDecodedOperand& operand) {
            return operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
                   operand.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT &&
                   (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0 &&
                   (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
        });
        const std::string name = made->decoded.name();
        if (name == "rstorssp" || name.starts_with("xsave")) {
            continue;  // not in a guest
        }
        if (by_zydis != reads_and_writes(made->code.data())) {
            different.insert(fmt::format("{} [{:02x}]", made->decoded.name(), fmt::join(made->code, " ")));
        }
    }
    EXPECT_THAT(different, testing::IsEmpty());
}

}  // namespace
}  // namespace understudy::pv
