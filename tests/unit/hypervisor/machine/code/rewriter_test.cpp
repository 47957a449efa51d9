#include "hypervisor/machine/code/rewriter.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <initializer_list>

#include "hypervisor/machine/platform.hpp"

namespace understudy::machine {
namespace {

constexpr std::uint64_t kCode = abi::kProgramBase;
constexpr std::uint64_t kEntry = abi::kKernelBase + 0x40;

// Guest memory with some code at kCode, already scanned.
class CodeRewriterTest : public testing::Test {
  protected:
    void load(std::initializer_list<unsigned> code) {
        size_ = code.size();
        std::size_t i = 0;
        for (const unsigned byte : code) {
            memory_.all()[kCode + i++] = static_cast<std::byte>(byte);
        }
        replaced_ = rewriter_.scan({kCode, size_}).value();
    }
    [[nodiscard]] std::vector<unsigned> code() { return bytes(kCode, size_); }
    [[nodiscard]] std::vector<unsigned> bytes(std::uint64_t at, std::size_t count) {
        std::vector<unsigned> result;
        const std::span<const std::byte> range = memory_.all().subspan(at, count);
        for (const std::byte byte : range) {
            result.push_back(std::to_integer<unsigned>(byte));
        }
        return result;
    }
    [[nodiscard]] std::optional<std::uint64_t> rewrite(std::uint64_t offset) {
        return rewriter_.rewrite_site({kCode + offset}, kEntry, trampoline_used_);
    }

    GuestMemory memory_{8_MiB};
    std::atomic<bool> abandoned_{false};
    CodeRewriter rewriter_{memory_, abandoned_};
    std::size_t size_ = 0;
    std::size_t replaced_ = 0;
    std::uint64_t trampoline_used_ = 0;
};

TEST_F(CodeRewriterTest, ReplacesEachNondeterministicInstruction) {
    load({0x0f, 0x31,              // rdtsc
          0x0f, 0x01, 0xf9,        // rdtscp
          0x0f, 0xa2,              // cpuid
          0x0f, 0x01, 0xd0,        // xgetbv
          0x49, 0x0f, 0xc7, 0xf3,  // rdrand r11
          0x0f, 0xc7, 0xf9,        // rdseed ecx
          0x66, 0x0f, 0xc7, 0xf2,  // rdrand dx
          0xf3, 0x0f, 0xc7, 0xff,  // rdpid rdi
          0xc3});                  // ret
    EXPECT_EQ(replaced_, 8u);
    EXPECT_EQ(code(), (std::vector<unsigned>{0xe7, 0x30,                   //
                                             0xe7, 0x31,      0x90,        //
                                             0xe7, 0x32,                   //
                                             0xe7, 0x33,      0x90,        //
                                             0xe7, 0x60 + 11, 0x90, 0x90,  //
                                             0xe7, 0x80 + 1,  0x90,        //
                                             0xe7, 0x40 + 2,  0x90, 0x90,  //
                                             0xe7, 0xa0 + 7,  0x90, 0x90, 0xc3}));
}

TEST_F(CodeRewriterTest, LeavesTheSameBytesInsideOtherInstructions) {
    const std::initializer_list<unsigned> harmless = {0xb8, 0x0f, 0x31, 0x0f, 0xa2,  // mov $0xa20f310f, %eax
                                                      0xc3};
    load(harmless);
    EXPECT_EQ(replaced_, 0u);
    EXPECT_EQ(code(), std::vector<unsigned>(harmless));
}

TEST_F(CodeRewriterTest, ScanIsIdempotent) {
    load({0x0f, 0x31, 0xc3});
    const auto once = code();
    EXPECT_EQ(rewriter_.scan({kCode, size_}), 0u);
    EXPECT_EQ(code(), once);
}

TEST_F(CodeRewriterTest, ScanOutsideMemoryIsRefused) {
    EXPECT_FALSE(rewriter_.scan({memory_.size().value - 1, 2}));
    EXPECT_FALSE(rewriter_.scan({~std::uint64_t{0}, 2}));
}

// What is below programs is none of theirs, and what replaces an instruction would be executed in ring 0.
TEST_F(CodeRewriterTest, ScanOfSupervisorPagesIsRefused) {
    std::ranges::fill(memory_.all().subspan(abi::kKernelBase, 2), std::byte{0x0f});
    memory_.all()[abi::kKernelBase + 1] = std::byte{0xa2};
    const auto before = bytes(abi::kKernelBase, 2);
    EXPECT_FALSE(rewriter_.scan({abi::kKernelBase, 16}));
    EXPECT_FALSE(rewriter_.scan({kCode - 1, 16}));
    EXPECT_FALSE(rewriter_.scan({0, 16}));
    EXPECT_EQ(bytes(abi::kKernelBase, 2), before);
}

// Each of its stretches ends, a megabyte further on, in what is no code: to follow each of them there takes hours.
TEST_F(CodeRewriterTest, AScanGoesOverEachByteAFewTimesAtTheMost) {
    constexpr std::size_t kBytes = 4U << 20;
    const auto code = memory_.all().subspan(kCode, kBytes);
    std::ranges::fill(code, std::byte{0x50});  // push %rax
    code.back() = std::byte{0x06};
    EXPECT_EQ(rewriter_.scan({kCode, kBytes}), 0U);
}

TEST_F(CodeRewriterTest, AScanFindsWhatIsBehindMoreInstructionsThanItKeeps) {
    constexpr std::size_t kBytes = 1U << 20;
    const auto code = memory_.all().subspan(kCode, kBytes);
    std::ranges::fill(code, std::byte{0x90});
    code[kBytes - 3] = std::byte{0x0f};
    code[kBytes - 2] = std::byte{0xa2};  // cpuid
    code[kBytes - 1] = std::byte{0xc3};
    EXPECT_EQ(rewriter_.scan({kCode, kBytes}), 1U);
}

// An image's symbols may all cover all of its code: to mark it for each of them takes hours.
TEST_F(CodeRewriterTest, AScanMarksWhatItsHintsCoverOnce) {
    constexpr std::size_t kBytes = 4U << 20;
    CodeHints hints;
    hints.data.assign(1U << 20U, {kCode, kBytes - 1});
    hints.sections.assign(1U << 16U, {kCode, kBytes});
    memory_.all()[kCode + kBytes - 1] = std::byte{0xc3};
    EXPECT_EQ(rewriter_.scan_segment({kCode, kBytes}, hints), 0U);
}

TEST_F(CodeRewriterTest, AScanEndsWhenItIsAskedTo) {
    abandoned_ = true;
    std::ranges::fill(memory_.all().subspan(kCode, 16), std::byte{0x90});
    memory_.all()[kCode + 16] = std::byte{0x0f};
    memory_.all()[kCode + 17] = std::byte{0xa2};
    memory_.all()[kCode + 18] = std::byte{0xc3};
    EXPECT_EQ(rewriter_.scan({kCode, 19}), 0U);
}

// A program's segment at kCode, and what its image tells.
class SegmentTest : public CodeRewriterTest {
  protected:
    std::size_t scan(const std::vector<unsigned>& code, const CodeHints& hints) {
        for (std::size_t i = 0; i < code.size(); ++i) {
            memory_.all()[kCode + i] = static_cast<std::byte>(code[i]);
        }
        size_ = code.size();
        before_ = code;
        return rewriter_.scan_segment({kCode, size_}, hints).value();
    }
    // Where code differs from what was scanned: offsets of first bytes replaced.
    [[nodiscard]] std::vector<std::size_t> changed() {
        std::vector<std::size_t> at;
        const auto now = code();
        for (std::size_t i = 0; i < now.size(); ++i) {
            if (now[i] == 0xe7 && before_[i] != 0xe7) {
                at.push_back(i);
            }
        }
        return at;
    }
    std::vector<unsigned> before_;
};

using Offsets = std::vector<std::size_t>;

TEST_F(SegmentTest, AnObjectBetweenFunctionsIsData) {
    const std::vector<unsigned> bytes = {0x0f, 0x31, 0xc3,   // a function: rdtsc; ret
                                         0x0f, 0x31, 0xc3,   // an object of the same bytes
                                         0x0f, 0xa2, 0xc3};  // a function: cpuid; ret
    scan(bytes, {.functions = {kCode, kCode + 6}, .labels = {}, .data = {{kCode + 3, 3}}, .sections = {}});
    EXPECT_EQ(changed(), (Offsets{0, 6}));
}

TEST_F(SegmentTest, ATableThatDesynchronizesHidesNoFunctionBehindIt) {
    const std::vector<unsigned> bytes = {0xc3,        // ret
                                         0x48, 0xb8,  // a table that ends in the begin of movabs
                                         0x0f, 0x31, 0xc3};
    scan(bytes, {.functions = {kCode, kCode + 3}, .labels = {}, .data = {}, .sections = {}});
    EXPECT_EQ(changed(), (Offsets{3}));
}

TEST_F(SegmentTest, WithoutSymbolsACallFindsTheFunctionBehindATable) {
    const std::vector<unsigned> bytes = {0xe8, 0x06, 0,    0,    0,     // call the function
                                         0xc3,                          //
                                         0x0f, 0x31, 0x00, 0x00, 0x06,  // a table
                                         0x0f, 0x31, 0xc3};
    scan(bytes, {.functions = {kCode}, .labels = {}, .data = {}, .sections = {}});
    EXPECT_EQ(changed(), (Offsets{11}));
}

TEST_F(SegmentTest, WhatAnInstructionReadsIsData) {
    const std::vector<unsigned> bytes = {0x8b, 0x05, 0x01, 0,    0, 0,  // mov 1(%rip), %eax
                                         0xc3,                          //
                                         0x0f, 0x31, 0x90, 0xc3,        // the table it reads, all of it sensible
                                         0xc3};
    scan(bytes, {.functions = {kCode, kCode + 11}, .labels = {}, .data = {}, .sections = {}});
    EXPECT_EQ(changed(), Offsets{});
}

TEST_F(SegmentTest, BytesThatRunIntoAFunctionAreData) {
    const std::vector<unsigned> bytes = {0xc3, 0x0f, 0x31, 0x0f, 0x31, 0xc3};
    scan(bytes, {.functions = {kCode, kCode + 5}, .labels = {}, .data = {}, .sections = {}});
    EXPECT_EQ(changed(), Offsets{});
}

TEST_F(SegmentTest, ImmediatesAreNoInstructions) {
    const std::vector<unsigned> bytes = {0x48, 0xb8, 0x0f, 0x31, 0x0f, 0xa2, 0x0f, 0x31, 0xc3, 0xc3,  // movabs
                                         0xb8, 0x0f, 0x31, 0xc3, 0x90,                                // mov
                                         0xc3};
    // Something names the middle of the first: it does not become code by that.
    scan(bytes, {.functions = {kCode}, .labels = {kCode + 2, kCode + 11}, .data = {}, .sections = {}});
    EXPECT_EQ(changed(), Offsets{});
}

TEST_F(SegmentTest, CodeThatNothingNamesIsFoundBetweenCode) {
    const std::vector<unsigned> bytes = {0xff, 0xe0,              // jmp *%rax
                                         0x0f, 0x31, 0xc3,        // a case of a switch
                                         0x0f, 0xa2, 0xeb, 0xf9,  // another, which jumps to the first
                                         0xc3};
    scan(bytes, {.functions = {kCode, kCode + 9}, .labels = {}, .data = {}, .sections = {}});
    EXPECT_EQ(changed(), (Offsets{2, 5}));
}

TEST_F(SegmentTest, JumpTablesLeadToCodeBehindData) {
    const std::uint64_t table = kCode + 0x1000;
    const std::vector<unsigned> bytes = {0x48, 0x8d, 0x05, 0xf9, 0x0f, 0, 0,  // lea table(%rip), %rax
                                         0xff, 0xe0,                          // jmp *%rax
                                         0x00, 0x00, 0x06,                    // data
                                         0x0f, 0x31, 0xc3, 0xc3};
    memory_.at<std::int32_t>({table}) = 12 - 0x1000;
    memory_.at<std::int32_t>({table + 4}) = 0x7fffffff;
    scan(bytes, {.functions = {kCode, kCode + 15}, .labels = {}, .data = {}, .sections = {}});
    EXPECT_EQ(changed(), (Offsets{12}));
}

TEST_F(SegmentTest, DataBehindACallThatDoesNotReturn) {
    const std::vector<unsigned> bytes = {0x0f, 0xa2,                 // cpuid
                                         0xe8, 0x09, 0,    0,    0,  // call a function that ends the program
                                         0x0f, 0x31, 0x06, 0x00,     // data
                                         0x0f, 0x31, 0x00, 0x00,     //
                                         0x90,                       //
                                         0xf4};                      // hlt
    scan(bytes, {.functions = {kCode}, .labels = {}, .data = {}, .sections = {}});
    EXPECT_EQ(changed(), (Offsets{0}));
}

TEST_F(SegmentTest, BytesOutsideTheSectionsOfCodeAreData) {
    const std::vector<unsigned> bytes = {0x0f, 0x31, 0xc3, 0x0f, 0x31, 0xc3};
    scan(bytes, {.functions = {kCode}, .labels = {kCode + 3}, .data = {}, .sections = {{kCode, 3}}});
    EXPECT_EQ(changed(), (Offsets{0}));
}

TEST_F(SegmentTest, MakingItExecutableAgainLeavesItsDataAlone) {
    const std::vector<unsigned> bytes = {0x0f, 0xa2, 0xc3, 0x0f, 0x31, 0xc3, 0x0f, 0xa2, 0xc3};
    scan(bytes, {.functions = {kCode, kCode + 6}, .labels = {}, .data = {{kCode + 3, 3}}, .sections = {}});
    const auto once = code();
    memory_.all()[kCode + 6] = std::byte{0x0f};  // the program patches its second function
    memory_.all()[kCode + 7] = std::byte{0x31};
    EXPECT_EQ(rewriter_.scan({kCode, 4096}), 1u);
    EXPECT_EQ(changed(), (Offsets{0, 6}));
    EXPECT_EQ(code()[7], unsigned{abi::kPortRdtsc});
    EXPECT_EQ(code()[3], 0x0fu);
}

// A SYSCALL at a function's begin, a table in front of it: nothing of the table may move to the trampoline.
TEST_F(SegmentTest, ATableInFrontOfASystemCallIsNotMoved) {
    const std::vector<unsigned> bytes = {0xc3,                                 // ret
                                         0xb8, 0x27, 0,    0,    0,            // a table: mov $39, %eax
                                         0x0f, 0x05, 0xc3, 0xc3, 0xc3, 0xc3};  // syscall; ret
    scan(bytes, {.functions = {kCode, kCode + 6}, .labels = {}, .data = {{kCode + 1, 5}}, .sections = {}});
    EXPECT_FALSE(rewrite(6));
    EXPECT_EQ(code(), bytes);
}

TEST_F(CodeRewriterTest, BehindDataOfNothingKnownTheSearchGoesOnAtTheNextFunction) {
    load({0x0f, 0xa2, 0xc3,                                // cpuid; ret
          0x06, 0x0f, 0x31, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  // data
          0x0f, 0x31, 0xc3});                              // rdtsc; ret
    EXPECT_EQ(replaced_, 2u);
    EXPECT_EQ(code()[0], 0xe7u);
    EXPECT_EQ(code()[4], 0x0fu);
    EXPECT_EQ(code()[16], 0xe7u);
}

TEST_F(CodeRewriterTest, MoveBeforeTheSiteBecomesAJumpAndTheSyscallStays) {
    load({0xb8, 0x27, 0, 0, 0,  // mov $39, %eax
          0x0f, 0x05,           // syscall
          0xc3});
    EXPECT_EQ(rewrite(5), kCode + 7);
    EXPECT_EQ(code()[0], 0xe9u);
    EXPECT_EQ(code()[5], 0x0fu);
    EXPECT_EQ(code()[6], 0x05u);
    EXPECT_GT(trampoline_used_, 0u);
    const auto trampoline = bytes(abi::kTrampolineBase, 8);
    EXPECT_EQ(std::vector<unsigned>(trampoline.begin(), trampoline.begin() + 5),
              (std::vector<unsigned>{0xb8, 0x27, 0, 0, 0}));  // the moved instruction
    EXPECT_EQ(trampoline[5], 0x48u);                          // lea ..., %rcx
}

TEST_F(CodeRewriterTest, InstructionsBehindTheSiteMoveWhenThoseBeforeCannot) {
    load({0x31, 0xc0,                          // xor %eax, %eax
          0x0f, 0x05,                          // syscall
          0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff,  // cmp $-4095, %rax
          0xc3});
    const auto continues = rewrite(2);
    ASSERT_TRUE(continues);
    EXPECT_GE(*continues, abi::kTrampolineBase);
    EXPECT_EQ(code()[2], 0xe9u);
    EXPECT_EQ(code()[10], 0xc3u);
}

TEST_F(CodeRewriterTest, AJumpBetweenTheInstructionsForbidsMovingThem) {
    load({0xeb, 0x03,           // jmp to the syscall's second predecessor
          0xb8, 0x27, 0, 0, 0,  // never reached by the sweep as a boundary that matters
          0x0f, 0x05,           // syscall
          0xeb, 0xf9,           // jmp into the mov's bytes
          0xc3});
    const auto before = code();
    EXPECT_FALSE(rewrite(7));
    EXPECT_EQ(code(), before);
    EXPECT_EQ(trampoline_used_, 0u);
}

TEST_F(CodeRewriterTest, RelativeInstructionsAreNotMoved) {
    load({0x48, 0x8d, 0x05, 0x10, 0, 0, 0,  // lea 0x10(%rip), %rax
          0x0f, 0x05,                       // syscall
          0x74, 0x00,                       // je
          0xc3});
    EXPECT_FALSE(rewrite(7));
}

TEST_F(CodeRewriterTest, ACodeRangeNobodyScannedIsNotRewritten) {
    EXPECT_FALSE(rewrite(0x1000));
    EXPECT_FALSE(rewriter_.rewrite_site({~std::uint64_t{1}}, kEntry, trampoline_used_));
}

// A backup's rewriter starts from memory that the primary's has already changed: both must go on alike.
TEST_F(CodeRewriterTest, ARewriterThatStartsLaterWritesTheSameBytes) {
    load({0xb8, 0x27, 0, 0, 0, 0x0f, 0x05,  //
          0x31, 0xc0, 0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0xc3});
    ASSERT_TRUE(rewrite(5));
    GuestMemory copy(8_MiB);
    std::ranges::copy(memory_.all(), copy.all().begin());
    CodeRewriter late(copy, abandoned_);
    std::uint64_t late_used = trampoline_used_;
    EXPECT_EQ(late.rewrite_site({kCode + 9}, kEntry, late_used), rewrite(9));
    EXPECT_EQ(late_used, trampoline_used_);
    EXPECT_TRUE(std::ranges::equal(memory_.all(), copy.all()));
}

// Code that is made anew where other code was: who saw that one must not remember it.
TEST_F(CodeRewriterTest, ARewriterDecidesFromWhatIsThereNow) {
    load({0xb8, 0x27, 0, 0, 0, 0x0f, 0x05,  // mov $39, %eax; syscall
          0xb8, 0x27, 0, 0, 0, 0x0f, 0x05,  //
          0x90, 0x90, 0xc3});
    ASSERT_TRUE(rewrite(5));
    const unsigned jump[] = {0xeb, 0xf8};  // from behind the second, to within what would be moved there
    memory_.all()[kCode + 14] = static_cast<std::byte>(jump[0]);
    memory_.all()[kCode + 15] = static_cast<std::byte>(jump[1]);
    GuestMemory copy(8_MiB);
    std::ranges::copy(memory_.all(), copy.all().begin());
    CodeRewriter late(copy, abandoned_);
    std::uint64_t late_used = trampoline_used_;
    EXPECT_EQ(late.rewrite_site({kCode + 12}, kEntry, late_used), rewrite(12));
    EXPECT_TRUE(std::ranges::equal(memory_.all(), copy.all()));
}

// Guests say where they have executed a SYSCALL, and may say anything.
TEST_F(CodeRewriterTest, LeavesWhatIsNoSystemCall) {
    load({0xb8, 0x27, 0x00, 0x00, 0x00, 0x90, 0x90, 0xc3});
    const auto before = code();
    EXPECT_FALSE(rewrite(5));
    EXPECT_FALSE(rewrite(7));
    EXPECT_EQ(code(), before);
}

TEST_F(CodeRewriterTest, ASiteThatMemoryEndsInIsLeft) {
    const std::uint64_t begin = memory_.size().value - 6;
    const auto code = memory_.all().subspan(begin);
    std::ranges::fill(code, std::byte{0x90});
    code[0] = std::byte{0xeb};  // jmp to the next instruction: it stays where it is
    code[1] = std::byte{0x00};
    code[5] = std::byte{0xc3};
    ASSERT_TRUE(rewriter_.scan({begin, 6}));
    EXPECT_FALSE(rewriter_.rewrite_site({begin + 5}, kEntry, trampoline_used_));
    EXPECT_EQ(code[5], std::byte{0xc3});
}

// A received state may know code anywhere: as much of it is looked at as there is memory.
TEST_F(CodeRewriterTest, KnowsNoMoreCodeThanThereIsMemory) {
    load({0xb8, 0x27, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xc3});
    CodeRanges& known = code_ranges(memory_);
    ASSERT_EQ(known.count, 1U);
    known.ranges[2] = known.ranges[0];
    known.ranges[0] = known.ranges[1] = {0, memory_.size().value / 2};
    known.count = 3;
    EXPECT_FALSE(rewrite(5));
    known.ranges[1] = {};
    EXPECT_TRUE(rewrite(5));
}

}  // namespace
}  // namespace understudy::machine
