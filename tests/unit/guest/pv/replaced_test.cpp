// Instructions that the kernel replaced in programs: the bytes trap, and what the layer does instead is what the
// processor would have done, but for what differs from host to host.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "tests/unit/guest/pv/host_layer.hpp"
#include "tests/unit/guest/pv/processor.hpp"

namespace understudy::pv {
namespace {

using Code = std::vector<u8>;

// As understudy_replace_site() of guest/linux/overlay/sites.c does, for the byte at which the opcode begins.
u8 instead_of(u8 opcode) {
    switch (opcode) {
        case 0xd9:
            return 0x0e;
        case 0xdd:
            return 0x1e;
        case 0xc7:
            return 0x16;
        default:
            return 0xd6;
    }
}

struct Site {
    const char* name;
    Code code;
    std::size_t opcode;  // where it begins
};
const std::array kSites = {
    Site{"cpuid", {0x0f, 0xa2}, 0},
    Site{"cpuid behind prefixes", {0x66, 0xf3, 0x48, 0x0f, 0xa2}, 3},
    Site{"fxsave (%rdi)", {0x0f, 0xae, 0x07}, 0},
    Site{"fxsave64 (%r8)", {0x49, 0x0f, 0xae, 0x00}, 1},
    Site{"xsave (%rdi)", {0x0f, 0xae, 0x27}, 0},
    Site{"xsaveopt (%rdi)", {0x0f, 0xae, 0x37}, 0},
    Site{"xrstor (%rdi)", {0x0f, 0xae, 0x2f}, 0},
    Site{"xgetbv", {0x0f, 0x01, 0xd0}, 0},
    Site{"rdpkru", {0x0f, 0x01, 0xee}, 0},
    Site{"sgdt (%rdi)", {0x0f, 0x01, 0x07}, 0},
    Site{"smsw %eax", {0x0f, 0x01, 0xe0}, 0},
    Site{"sldt %eax", {0x0f, 0x00, 0xc0}, 0},
    Site{"verr %ax", {0x0f, 0x00, 0xe0}, 0},
    Site{"lar %ax, %ecx", {0x0f, 0x02, 0xc8}, 0},
    Site{"lsl %ax, %ecx", {0x0f, 0x03, 0xc8}, 0},
    Site{"rdpmc", {0x0f, 0x33}, 0},
    Site{"sysenter", {0x0f, 0x34}, 0},
    Site{"rdrand %rax", {0x48, 0x0f, 0xc7, 0xf0}, 1},
    Site{"rdseed %r8", {0x49, 0x0f, 0xc7, 0xf8}, 1},
    Site{"rdpid %rax", {0xf3, 0x0f, 0xc7, 0xf8}, 1},
    Site{"xsavec (%rdi)", {0x0f, 0xc7, 0x27}, 0},
    Site{"tpause %eax", {0x66, 0x0f, 0xae, 0xf0}, 1},
    Site{"fnstenv (%rdi)", {0xd9, 0x37}, 0},
    Site{"fnstenv 8(%r13)", {0x41, 0xd9, 0x75, 0x08}, 1},
    Site{"fnsave (%rdi)", {0xdd, 0x37}, 0},
    Site{"xbegin", {0xc7, 0xf8, 0x00, 0x00, 0x00, 0x00}, 0},
};

TEST(ReplacedBytes, TrapOnThisProcessor) {
    Arena arena;
    for (const Site& site : kSites) {
        Code code = site.code;
        code.at(site.opcode) = instead_of(code.at(site.opcode));
        arena.clear();
        arena.put(code);
        understudy_frame frame{};
        frame.rip = arena.code();
        frame.rflags = 0x202;
        frame.rdi = frame.r8 = frame.r13 = frame.rsp = arena.begin() + 2 * kPageBytes + 1024;
        const Outcome outcome = execute(frame, 0);
        EXPECT_EQ(outcome.trap, kInvalidOpcodeVector) << site.name << fmt::format(" [{:02x}]", fmt::join(code, " "));
        EXPECT_EQ(outcome.frame.rip, arena.code()) << site.name;
    }
}

class Replaced : public testing::Test {
  protected:
    Replaced() {
        layer_.map(arena_.code(), kUser);
        layer_.map(data_page(), kWritable | kUser);
        layer_.map(data_page() + kPageBytes, kWritable | kUser);
        std::memset(data(), 0xee, 2 * kPageBytes);
        frame_.rdi = data_page();
        frame_.rflags = 0x246;
    }
    // Two writable pages; the one behind them is not there.
    [[nodiscard]] u64 data_page() const { return arena_.begin() + 2 * kPageBytes; }
    [[nodiscard]] u8* data() const { return reinterpret_cast<u8*>(data_page()); }

    Emulated emulate(Code code, std::size_t opcode = 0) {
        code.at(opcode) = instead_of(code.at(opcode));
        return emulate_as_it_is(code);
    }
    Emulated emulate_as_it_is(const Code& code) {
        frame_.rip = arena_.put(code);
        begin_ = frame_.rip;
        return emulate_program(frame_);
    }
    [[nodiscard]] u64 passed() const { return frame_.rip - begin_; }

    HostLayer layer_;
    Arena arena_;
    understudy_frame frame_{};
    u64 begin_ = 0;
};

TEST_F(Replaced, CpuidAnswersFromTheTable) {
    auto* const table = in_region<understudy_cpuid>(UNDERSTUDY_CPUID_OFFSET);
    table[0] = {0x40000000, 0, 1, 1, 9, 9, 9, 9};
    table[1] = {4, 1, 0, 0, 1, 2, 3, 4};
    table[2] = {7, 0, 1, 0, 5, 6, 7, 8};
    layer.cpuid_entries = 3;
    frame_.rax = ~u64{0} << 32 | 7;
    frame_.rcx = 5;
    ASSERT_EQ(emulate({0x0f, 0xa2}), Emulated::done);
    EXPECT_THAT((std::array{frame_.rax, frame_.rbx, frame_.rcx, frame_.rdx}), testing::ElementsAre(5, 6, 7, 8));
    EXPECT_EQ(passed(), 2U);
    frame_.rax = 4;
    frame_.rcx = 0;
    ASSERT_EQ(emulate({0xf3, 0x0f, 0xa2}, 1), Emulated::done);
    EXPECT_EQ(frame_.rbx, 0U) << "another subleaf";
    EXPECT_EQ(passed(), 3U);
    frame_.rax = 0x40000000;
    ASSERT_EQ(emulate({0x0f, 0xa2}), Emulated::done);
    EXPECT_EQ(frame_.rax, 0U) << "the kernel's alone";
}

TEST_F(Replaced, NoSegmentIsReadableForAProgram) {
    for (const Code& code : {Code{0x0f, 0x02, 0xc8}, Code{0x0f, 0x03, 0xc8}, Code{0x0f, 0x00, 0xe0},
                             Code{0x0f, 0x00, 0xe8}, Code{0x0f, 0x02, 0x8f, 0x00, 0x01, 0x00, 0x00}}) {
        frame_.rflags = 0x246;
        ASSERT_EQ(emulate(code), Emulated::done);
        EXPECT_EQ(frame_.rflags, 0x206U);
        EXPECT_EQ(passed(), code.size());
    }
}

TEST_F(Replaced, WhatIsNotThereStaysInvalid) {
    for (const Site& site : kSites) {
        const std::string name = site.name;
        if (name.starts_with("cpuid") || name.starts_with("fx") || name.starts_with("fn") || name.starts_with("verr") ||
            name.starts_with("lar") || name.starts_with("lsl") || name.starts_with("sgdt") ||
            name.starts_with("smsw") || name.starts_with("sldt")) {
            continue;
        }
        frame_.rdi = frame_.r8 = data_page();
        EXPECT_EQ(emulate(site.code, site.opcode), Emulated::no) << name;
        EXPECT_EQ(passed(), 0U) << name;
    }
    // Bytes that stand for nothing that the kernel replaces.
    for (const Code& code : {Code{0x0e, 0xc0}, Code{0x0e, 0x07}, Code{0x1e, 0xf0}, Code{0x1e, 0x3f},
                             Code{0xd6, 0x38, 0xa2}, Code{0xd6, 0xae, 0xc0}, Code{0xd6, 0x10, 0x07}, Code{0x90}}) {
        EXPECT_EQ(emulate_as_it_is(code), Emulated::no) << fmt::format("{:02x}", fmt::join(code, " "));
    }
    EXPECT_EQ(std::ranges::count(std::span(data(), kPageBytes), 0xee), static_cast<long>(kPageBytes));
}

// As Linux does where the processor refuses them.
TEST_F(Replaced, TablesAndTaskAreWhatLinuxSaysWithUmip) {
    constexpr std::array<u8, 10> kGdt = {0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff};
    constexpr std::array<u8, 10> kIdt = {0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    frame_.rdi = data_page();
    EXPECT_EQ(emulate({0x0f, 0x01, 0x07}, 0), Emulated::done);  // sgdt (%rdi)
    EXPECT_TRUE(std::ranges::equal(std::span(data(), kGdt.size()), kGdt));
    EXPECT_EQ(data()[kGdt.size()], 0xee);
    EXPECT_EQ(emulate({0x0f, 0x01, 0x0f}, 0), Emulated::done);  // sidt (%rdi)
    EXPECT_TRUE(std::ranges::equal(std::span(data(), kIdt.size()), kIdt));
    EXPECT_EQ(emulate({0x0f, 0x01, 0x27}, 0), Emulated::done);  // smsw (%rdi)
    EXPECT_EQ(data()[0], 0x33);
    EXPECT_EQ(data()[1], 0x00);
    EXPECT_EQ(data()[2], kIdt[2]);
    frame_.rax = frame_.r8 = ~u64{0};
    EXPECT_EQ(emulate({0x0f, 0x01, 0xe0}, 0), Emulated::done);  // smsw %eax
    EXPECT_EQ(frame_.rax, 0x80050033U);
    EXPECT_EQ(emulate({0x66, 0x41, 0x0f, 0x00, 0xc8}, 2), Emulated::done);  // str %r8w
    EXPECT_EQ(frame_.r8, 0xffffffffffff0040U);
    EXPECT_EQ(emulate({0x0f, 0x00, 0xc0}, 0), Emulated::done);  // sldt %eax
    EXPECT_EQ(frame_.rax, 0U);
    frame_.rdi = 0x10000;
    EXPECT_EQ(emulate({0x0f, 0x01, 0x07}, 0), Emulated::raises);
    EXPECT_EQ(frame_.vector, kPageFaultVector);
}

// Runs x87 instructions that leave traces of their own place: the last instruction's and operand's address, its opcode.
void use_x87() {
    static constexpr double kValue = 1.5;
    __asm__ volatile("fninit\n\tfldl %0\n\tfldpi\n\tfaddl %0" : : "m"(kValue) : "memory");
}
void forget_x87() {
    __asm__ volatile("fninit" : : : "memory");
}

TEST_F(Replaced, FxsaveKeepsTheProgramsStateAndNothingOfTheProcessors) {
    alignas(16) std::array<u8, 512> expected{};
    for (const bool wide : {false, true}) {
        std::memset(data(), 0xee, kPageBytes);
        use_x87();
        __asm__ volatile("fxsave64 %0" : "=m"(expected));
        const Emulated result = wide ? emulate({0x48, 0x0f, 0xae, 0x07}, 1) : emulate({0x0f, 0xae, 0x07});
        forget_x87();
        ASSERT_EQ(result, Emulated::done);
        EXPECT_EQ(passed(), wide ? 4U : 3U);
        std::fill(expected.begin() + 6, expected.begin() + 24, u8{0});  // FOP, FIP, FDP
        EXPECT_EQ(std::memcmp(data(), expected.data(), 28), 0);
        EXPECT_THAT(std::vector<u8>(data() + 28, data() + 32), testing::ElementsAre(0xff, 0xff, 0, 0));
        for (unsigned i = 0; i < 8; ++i) {
            const std::size_t at = 32 + 16 * i;
            EXPECT_EQ(std::memcmp(data() + at, expected.data() + at, 10), 0) << "st" << i;
            EXPECT_THAT(std::vector<u8>(data() + at + 10, data() + at + 16), testing::Each(0)) << "st" << i;
        }
        EXPECT_THAT(std::vector<u8>(data() + 416, data() + 520), testing::Each(0xee)) << "the program's own";
    }
}

TEST_F(Replaced, FnstenvAndFnsaveDoWhatTheyDo) {
    std::array<u8, 108> expected{};
    use_x87();
    __asm__ volatile("fnstenv %0\n\tfldenv %0" : "=m"(expected));
    std::memset(expected.data() + 12, 0, 16);  // FIP, FCS, FOP, FDP, FDS
    ASSERT_EQ(emulate({0xd9, 0x77, 0x08}), Emulated::done);
    EXPECT_EQ(passed(), 3U);
    EXPECT_EQ(std::memcmp(data() + 8, expected.data(), 28), 0);
    EXPECT_EQ(data()[8 + 28], 0xee);
    for (const std::size_t reserved : {2U, 3U, 6U, 7U, 10U, 11U}) {
        EXPECT_EQ(data()[8 + reserved], 0xff) << "whatever the processor stores";
    }

    use_x87();
    __asm__ volatile("fnsave %0\n\tfrstor %0" : "=m"(expected));
    std::memset(expected.data() + 12, 0, 16);
    ASSERT_EQ(emulate({0xdd, 0x37}), Emulated::done);
    EXPECT_EQ(std::memcmp(data(), expected.data(), 108), 0);
    EXPECT_EQ(data()[108], 0xee);
    u16 status = 0xffff;
    __asm__ volatile("fnstsw %0" : "=m"(status));
    EXPECT_EQ(status, 0) << "FNSAVE resets the unit";
}

TEST_F(Replaced, AFaultOfTheOperandIsTheInstructionsOwnAndChangesNothing) {
    const u64 missing = data_page() + 2 * kPageBytes;
    const Code fxsave = {0x0f, 0xae, 0x07};
    frame_.rdi = data_page() + 8;
    ASSERT_EQ(emulate(fxsave), Emulated::raises);
    EXPECT_EQ(frame_.vector, kGeneralProtectionVector);
    EXPECT_EQ(frame_.rip, begin_);
    frame_.rdi = u64{1} << 47;
    ASSERT_EQ(emulate(fxsave), Emulated::raises);
    EXPECT_EQ(frame_.vector, kGeneralProtectionVector);

    for (const Code& code : {fxsave, Code{0xd9, 0x37}, Code{0xdd, 0x37}}) {
        use_x87();
        u16 before = 0;
        __asm__ volatile("fnstsw %0" : "=m"(before));
        frame_.rdi = missing - 16;
        ASSERT_EQ(emulate(code), Emulated::raises);
        EXPECT_EQ(frame_.vector, kPageFaultVector);
        EXPECT_EQ(frame_.error_code, 6U) << "a write by a program to a page that is not there";
        EXPECT_EQ(vcpu_info->arch.cr2, missing);
        EXPECT_EQ(frame_.rip, begin_);
        u16 after = 0;
        __asm__ volatile("fnstsw %0" : "=m"(after));
        EXPECT_EQ(before, after);
        EXPECT_EQ(*reinterpret_cast<u8*>(missing - 16), 0xee);
    }
    layer_.map(data_page(), kUser);
    frame_.rdi = data_page();
    ASSERT_EQ(emulate({0xd9, 0x37}), Emulated::raises);
    EXPECT_EQ(frame_.error_code, 7U) << "to a page that is read-only";
    EXPECT_EQ(vcpu_info->arch.cr2, data_page());
    forget_x87();
}

// The processor has trapped at the first byte, and has not looked for the rest; nor may anybody else.
TEST_F(Replaced, WhatReachesIntoAPageThatIsNotThereFaultsThere) {
    const u64 missing = data_page() + 2 * kPageBytes;
    const auto emulate_before_end = [&](const Code& code, std::size_t on_page) {
        frame_.rip = missing - on_page;
        std::memcpy(reinterpret_cast<u8*>(frame_.rip), code.data(), on_page);
        frame_.vector = kInvalidOpcodeVector;
        return emulate_program(frame_);
    };
    const Code fxsave = {instead_of(0x0f), 0xae, 0x47, 0x10};  // FXSAVE 16(%rdi)
    for (std::size_t on_page = 1; on_page < fxsave.size(); ++on_page) {
        ASSERT_EQ(emulate_before_end(fxsave, on_page), Emulated::raises) << on_page;
        EXPECT_EQ(frame_.vector, kPageFaultVector);
        EXPECT_EQ(frame_.error_code, 0x14U) << "a program that fetches from a page that is not there";
        EXPECT_EQ(vcpu_info->arch.cr2, missing);
    }
    frame_.rax = 0;
    ASSERT_EQ(emulate_before_end({instead_of(0x0f), 0xa2}, 2), Emulated::done) << "CPUID, all of it";
    EXPECT_EQ(frame_.rip, missing);
    ASSERT_EQ(emulate_before_end({0x06, 0x06}, 2), Emulated::no) << "nothing of ours";
}

// A return that the kernel makes for a program may name any place.
TEST_F(Replaced, WhereNothingCanBeReadNothingIsEmulated) {
    for (const u64 rip :
         {data_page() + 2 * kPageBytes, u64{1} << 47, u64{0x0000888000000000}, u64{0x9000000000000000}, ~u64{0} >> 1}) {
        frame_.rip = rip;
        EXPECT_EQ(emulate_program(frame_), Emulated::no);
        EXPECT_FALSE(emulate_privileged(frame_));
        EXPECT_EQ(frame_.rip, rip);
    }
}

// RDTSC that traps for being forbidden to ring 3 was fetched whole; what stands behind it need not be there.
TEST_F(Replaced, RdtscIsReadAtAPagesEnd) {
    const Code rdtsc = {0x0f, 0x31};
    frame_.rip = data_page() + 2 * kPageBytes - rdtsc.size();
    std::memcpy(reinterpret_cast<u8*>(frame_.rip), rdtsc.data(), rdtsc.size());
    EXPECT_TRUE(emulate_privileged(frame_));
    EXPECT_EQ(frame_.rip, data_page() + 2 * kPageBytes);
}

}  // namespace
}  // namespace understudy::pv
