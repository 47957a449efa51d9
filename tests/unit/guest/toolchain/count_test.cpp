// What counted code counts, that a trap anywhere leaves it undisturbed, and that no stop is later than promised.
#include <Zydis/Zydis.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "guest/toolchain/native_control_page.hpp"
#include "tests/unit/guest/toolchain/samples.hpp"

namespace understudy::toolchain {
namespace {

constexpr std::int64_t kMaxCharge = 1 << 12;  // as charge.hpp has it, which needs LLVM

class Count : public testing::Test {
  protected:
    // The counts of one run without a trap.
    template <typename Run>
    std::int64_t counts_of(Run run) {
        page_.arm(NativeControlPage::kEndless);
        run();
        return page_.counted();
    }

    NativeControlPage page_;
};

// --- What is counted ----------------------------------------------------------------------------------------------

TEST_F(Count, ChargesOneForAnEntry) {
    EXPECT_EQ(counts_of([] { counted_o0::straight(7); }), 1);
    EXPECT_EQ(counts_of([] { counted_o2::straight(7); }), 1);
}

TEST_F(Count, ChargesNothingForAnAnnotatedFunction) {
    EXPECT_EQ(counts_of([] { counted_o0::uncounted(63); }), 0);
    EXPECT_EQ(counts_of([] { counted_o2::uncounted(63); }), 0);
}

TEST_F(Count, ChargesOneForEachIteration) {
    for (const std::uint64_t n : {0U, 1U, 2U, 3U, 100U, 2046U, 2047U, 2048U, 2049U, 4095U, 4096U, 4097U, 100000U}) {
        const auto expected = static_cast<std::int64_t>(n) + 1;
        EXPECT_EQ(counts_of([&] { counted_o0::iterate(n); }), expected) << "one by one, n = " << n;
        EXPECT_EQ(counts_of([&] { counted_o2::iterate(n); }), expected) << "charged ahead, n = " << n;
    }
    EXPECT_EQ(counts_of([] { counted_o0::iterate_constant(1); }), 101);
    EXPECT_EQ(counts_of([] { counted_o2::iterate_constant(1); }), 101);
}

TEST_F(Count, ChargesNestedLoops) {
    for (const std::uint64_t inner : {0U, 1U, 5U, 20000U}) {
        const auto expected = static_cast<std::int64_t>(1 + 7 + 7 * inner);
        EXPECT_EQ(counts_of([&] { counted_o0::nest(7, inner); }), expected) << inner;
        EXPECT_EQ(counts_of([&] { counted_o2::nest(7, inner); }), expected) << inner;
    }
}

TEST_F(Count, ChargesRecursion) {
    // fibonacci(n) is entered 2 fibonacci(n + 1) - 1 times.
    const auto expected = static_cast<std::int64_t>(2 * plain::fibonacci(16) - 1);
    EXPECT_EQ(counts_of([] { counted_o0::fibonacci(15); }), expected);
    EXPECT_GE(counts_of([] { counted_o2::fibonacci(15); }), static_cast<std::int64_t>(plain::fibonacci(15)));
}

TEST_F(Count, ChargesMustTailCalls) {
    EXPECT_EQ(counts_of([] { counted_o0::is_even(1000); }), 1001);
    EXPECT_EQ(counts_of([] { counted_o2::is_even(1000); }), 1001);
}

TEST_F(Count, ChargesSecondReturns) {
    EXPECT_EQ(counts_of([] { counted_o0::returns_again(10); }), 1 + 11);
    EXPECT_EQ(counts_of([] { counted_o2::returns_again(10); }), 1 + 11);
}

TEST_F(Count, ChargesCyclesThatAreNoNaturalLoops) {
    const std::array<std::uint8_t, 4> code{1, 2, 3, 0};
    const auto rounds = [&](auto& interpret) { return counts_of([&] { interpret(code.data()); }); };
    EXPECT_GE(rounds(counted_o0::interpret), 9);  // 1 reaches 1000 in nine rounds of 2(v + 1)
    EXPECT_GE(rounds(counted_o2::interpret), 9);
    for (const bool second : {false, true}) {
        EXPECT_GE(counts_of([&] { counted_o0::two_entries(100, second); }), 100);
        EXPECT_GE(counts_of([&] { counted_o2::two_entries(100, second); }), 100);
    }
}

TEST_F(Count, ChargesCallsFromCodeThatIsNotCounted) {
    const auto own = counts_of([] { plain::call_back(50, plain::straight); });
    EXPECT_EQ(own, 0);
    EXPECT_EQ(counts_of([] { plain::call_back(50, counted_o2::straight); }), 50);
    EXPECT_EQ(counts_of([] { counted_o2::call_back(50, counted_o2::straight); }), 1 + 50 + 50);
}

TEST_F(Count, ChargesAnIterationThatMakesACountedCallByThatCallAlone) {
    EXPECT_EQ(counts_of([] { counted_o0::call_straight(50); }), 1 + 50);
    EXPECT_EQ(counts_of([] { counted_o2::call_straight(50); }), 1 + 50);
}

// --- Traps --------------------------------------------------------------------------------------------------------

// A sample with its arguments; run() returns everything that it computed.
struct Scenario {
    std::string name;
    std::function<std::vector<std::uint64_t>()> plain;
    std::function<std::vector<std::uint64_t>()> counted;
};

std::uint64_t bits_of(double value) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

template <typename Function>
std::vector<std::uint64_t> run_scale(Function scale) {
    std::vector<float> values(157);
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(i);
    }
    scale(values.data(), values.size(), 1.5F);
    std::vector<std::uint64_t> result(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        std::memcpy(&result[i], &values[i], sizeof values[i]);
    }
    return result;
}

template <typename Function>
std::vector<std::uint64_t> run_mixed(Function mixed) {
    std::vector<double> values(41, 3.25);
    std::vector<std::uint64_t> result{bits_of(mixed(values.data(), values.size()))};
    for (const double value : values) {
        result.push_back(bits_of(value));
    }
    return result;
}

template <typename Function>
std::vector<std::uint64_t> run_keeps_flags(Function keeps_flags) {
    std::vector<std::uint64_t> values;
    for (std::uint64_t i = 1; i <= 60; ++i) {
        values.push_back(i * 0x9e3779b97f4a7c15U);
    }
    return {keeps_flags(values.data(), values.size())};
}

template <typename Function>
std::vector<std::uint64_t> run_strided(Function sum_strided) {
    std::vector<std::uint32_t> values(100);
    for (std::uint32_t i = 0; i < values.size(); ++i) {
        values[i] = i * 2654435761U;
    }
    return {sum_strided(values.data(), values.size())};
}

template <typename Function>
std::vector<std::uint64_t> run_interpret(Function interpret) {
    const std::array<std::uint8_t, 6> code{1, 2, 1, 2, 3, 0};
    return {interpret(code.data())};
}

template <typename Function>
std::vector<std::uint64_t> run_even(Function is_even) {
    return {static_cast<std::uint64_t>(is_even(60)), static_cast<std::uint64_t>(is_even(61))};
}

// NOLINTNEXTLINE(cppcoreguidelines-macro-usage)
#define UNDERSTUDY_SCENARIO(text, run)     \
    Scenario{std::string("o0_") + (text),  \
             [] {                          \
                 namespace s = plain;      \
                 return run;               \
             },                            \
             [] {                          \
                 namespace s = counted_o0; \
                 return run;               \
             }},                           \
        Scenario {                         \
        std::string("o2_") + (text),       \
            [] {                           \
                namespace s = plain;       \
                return run;                \
            },                             \
            [] {                           \
                namespace s = counted_o2;  \
                return run;                \
            }                              \
    }

std::vector<Scenario> scenarios() {
    using Values = std::vector<std::uint64_t>;
    return {
        UNDERSTUDY_SCENARIO("straight", Values{s::straight(5)}),
        UNDERSTUDY_SCENARIO("fibonacci", Values{s::fibonacci(8)}),
        UNDERSTUDY_SCENARIO("iterate", Values{s::iterate(60)}),
        UNDERSTUDY_SCENARIO("iterate_constant", Values{s::iterate_constant(1)}),
        UNDERSTUDY_SCENARIO("nest", (Values{s::nest(6, 9)})),
        UNDERSTUDY_SCENARIO("call_back", (Values{s::call_back(20, s::straight)})),
        UNDERSTUDY_SCENARIO("call_straight", Values{s::call_straight(20)}),
        UNDERSTUDY_SCENARIO("two_entries", (Values{s::two_entries(20, true), s::two_entries(20, false)})),
        UNDERSTUDY_SCENARIO("returns_again", Values{s::returns_again(6)}),
        UNDERSTUDY_SCENARIO("catches", Values{s::catches(20)}),
        UNDERSTUDY_SCENARIO("is_even", run_even(s::is_even)),
        UNDERSTUDY_SCENARIO("interpret", run_interpret(s::interpret)),
        UNDERSTUDY_SCENARIO("scale", run_scale(s::scale)),
        UNDERSTUDY_SCENARIO("sum_strided", run_strided(s::sum_strided)),
        UNDERSTUDY_SCENARIO("mixed", run_mixed(s::mixed)),
        UNDERSTUDY_SCENARIO("keeps_flags", run_keeps_flags(s::keeps_flags)),
    };
}
#undef UNDERSTUDY_SCENARIO

class Trap : public testing::TestWithParam<Scenario> {
  protected:
    NativeControlPage page_;
};

TEST_P(Trap, RunsCountTheSame) {
    page_.arm(NativeControlPage::kEndless);
    GetParam().counted();
    const std::int64_t first = page_.counted();
    EXPECT_GT(first, 0);
    page_.arm(NativeControlPage::kEndless);
    GetParam().counted();
    EXPECT_EQ(page_.counted(), first);
}

TEST_P(Trap, AtEveryCountReturnsToAnUndisturbedProgram) {
    const auto expected = GetParam().plain();
    page_.arm(NativeControlPage::kEndless);
    EXPECT_EQ(GetParam().counted(), expected);
    const std::int64_t all = page_.counted();
    ASSERT_LT(all, 5000) << "too long a sample for every count";

    for (std::int64_t budget = 0; budget <= all; ++budget) {
        std::vector<std::int64_t> stops;
        page_.on_trap([&] {
            stops.push_back(page_.counted());
            page_.arm(NativeControlPage::kEndless);
        });
        page_.arm(budget);
        ASSERT_EQ(GetParam().counted(), expected) << "trap after " << budget;
        if (budget == all) {
            EXPECT_THAT(stops, testing::IsEmpty()) << "nothing is counted beyond the end";
        } else {
            ASSERT_THAT(stops, testing::SizeIs(1)) << "trap after " << budget;
            EXPECT_GT(stops[0], budget);
            EXPECT_LE(stops[0], budget + kMaxCharge);
            EXPECT_EQ(stops[0] + page_.counted(), all) << "counts lost or charged twice by the trap";
        }
    }
}

TEST_P(Trap, AtEachChargeInOneRun) {
    const auto expected = GetParam().plain();
    std::int64_t counted = 0;
    page_.on_trap([&] {
        ASSERT_LE(page_.counted(), kMaxCharge);
        counted += page_.counted();
        page_.arm(0);
    });
    page_.arm(0);
    EXPECT_EQ(GetParam().counted(), expected);
    page_.arm(NativeControlPage::kEndless);
    GetParam().counted();
    EXPECT_EQ(counted, page_.counted());
}

INSTANTIATE_TEST_SUITE_P(Samples, Trap, testing::ValuesIn(scenarios()),
                         [](const auto& instance) { return instance.param.name; });

TEST_F(Count, IsNeverLateByMoreThanOneCharge) {
    std::vector<std::int64_t> late;
    constexpr std::int64_t kBudget = 1000;
    page_.on_trap([&] {
        late.push_back(page_.counted() - kBudget);
        page_.arm(kBudget);
    });
    std::vector<float> values(3'000'000, 1.0F);
    page_.arm(kBudget);
    counted_o2::iterate(1'000'000);
    counted_o2::scale(values.data(), values.size(), 0.5F);
    counted_o2::nest(10, 100'000);
    EXPECT_GT(late.size(), 100U);
    EXPECT_THAT(late, testing::Each(testing::AllOf(testing::Gt(0), testing::Le(kMaxCharge))));
}

// --- Code ---------------------------------------------------------------------------------------------------------

struct CodeCounts {
    int cell_accesses = 0;  // any instruction that names the cell
    int charges = 0;        // SUB to the cell in one instruction, with JS right behind
    int returns = 0;
};

// Everything from the start of `function` to its first RET, in the order of addresses.
template <typename Function>
CodeCounts read_code(Function* function) {
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    const auto* code = reinterpret_cast<const std::uint8_t*>(function);
    CodeCounts counts;
    bool charged = false;
    for (std::size_t offset = 0; offset < 4096 && counts.returns == 0;) {
        ZydisDecodedInstruction instruction;
        std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
        if (!ZYAN_SUCCESS(
                ZydisDecoderDecodeFull(&decoder, code + offset, 4096 - offset, &instruction, operands.data()))) {
            ADD_FAILURE() << "undecodable at " << offset;
            break;
        }
        offset += instruction.length;
        counts.charges += charged && instruction.mnemonic == ZYDIS_MNEMONIC_JS ? 1 : 0;
        const auto& target = operands[0];
        const bool names_cell = instruction.operand_count_visible > 0 && target.type == ZYDIS_OPERAND_TYPE_MEMORY &&
                                target.mem.base == ZYDIS_REGISTER_NONE &&
                                target.mem.disp.value == static_cast<ZyanI64>(abi::kControlBase);
        counts.cell_accesses += names_cell ? 1 : 0;
        charged = names_cell && instruction.mnemonic == ZYDIS_MNEMONIC_SUB && target.size == 64;
        counts.returns += instruction.mnemonic == ZYDIS_MNEMONIC_RET ? 1 : 0;
    }
    EXPECT_EQ(counts.returns, 1);
    return counts;
}

TEST(Code, ChargesByOneReadModifyWrite) {
    const CodeCounts straight = read_code(counted_o2::straight);
    EXPECT_EQ(straight.charges, 1);
    EXPECT_EQ(straight.cell_accesses, 1);
    const CodeCounts at_o0 = read_code(counted_o0::iterate);
    EXPECT_EQ(at_o0.charges, 2) << "entry and latch";
    EXPECT_EQ(at_o0.cell_accesses, 2);
    const CodeCounts constant = read_code(counted_o2::iterate_constant);
    EXPECT_EQ(constant.charges, 1) << "entry and the whole loop in one";
    EXPECT_EQ(constant.cell_accesses, 1);
    EXPECT_EQ(read_code(plain::iterate).cell_accesses, 0);
    EXPECT_EQ(read_code(counted_o2::uncounted).cell_accesses, 0);
}

}  // namespace
}  // namespace understudy::toolchain
