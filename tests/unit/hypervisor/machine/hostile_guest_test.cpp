// A guest owns its control page and its registers, and may put anything there. The monitor computes with them all the
// same: nothing overflows (the sanitizers watch), nothing outside guest memory is read, no clock runs wild.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "hypervisor/machine/small_machine.hpp"
#include "tests/unit/hypervisor/machine/scripted_engine.hpp"

namespace understudy::machine {
namespace {

constexpr Bytes kMemory = 8_MiB;
constexpr std::int64_t kMostArmed = std::numeric_limits<std::int64_t>::max();
constexpr std::uint64_t kAllOnes = std::numeric_limits<std::uint64_t>::max();

class HostileGuest : public testing::Test {
  protected:
    abi::Control& page() { return control(machine_.memory()); }
    // Ends the interval as a guest that goes idle does.
    static engine::Exit idle() { return engine::PortOut{abi::kPortIdle, 0}; }

    ScriptedEngine::Script script_;
    engine::Engine* engine_ = nullptr;
    SmallMachine machine_{kMemory, [this](std::span<std::byte>, const engine::BootState&) {
                              auto engine = std::make_unique<ScriptedEngine>(script_);
                              engine_ = engine.get();
                              return engine;
                          }};
};

TEST_F(HostileGuest, MayPutAnythingIntoItsCounterCell) {
    script_.emplace_back([this] {
        page().armed = std::numeric_limits<std::int64_t>::min();
        page().cell = std::numeric_limits<std::int64_t>::max();
        return engine::Kicked{};
    });
    script_.emplace_back(&idle);
    const auto stop = machine_.run({{1000}, true});
    ASSERT_TRUE(stop);
    EXPECT_EQ(stop->kind, StopKind::idle);
}

// Counts never decrease, whatever is in the cell: the log is made of their differences.
TEST_F(HostileGuest, FaultsWhereItsCounterIsImpossible) {
    for (const std::int64_t armed : {std::int64_t{-5}, std::numeric_limits<std::int64_t>::min(), kMostArmed}) {
        script_.emplace_back([this, armed] {
            page().armed = armed;
            page().cell = armed == kMostArmed ? -1 : 0;
            return idle();
        });
        const InstructionCount before = machine_.count();
        const auto stop = machine_.run({{1000}, false});
        ASSERT_TRUE(stop);
        EXPECT_EQ(stop->kind, StopKind::fault);
        EXPECT_EQ(stop->count, before);
        EXPECT_THAT(machine_.fault_report().reason, testing::HasSubstr("instruction counter"));
    }
}

TEST_F(HostileGuest, MayPutAnythingIntoItsClock) {
    for (const std::uint64_t clock : {kAllOnes, kAllOnes / 2, kAllOnes / 2 + 1}) {
        script_.emplace_back([this, clock] {
            page().clock_ns = clock;
            return idle();
        });
        ASSERT_TRUE(machine_.run({{1000}, false}));
        EXPECT_GE(machine_.clock(), GuestTime{0});
        EXPECT_LE(machine_.clock(), kMaxGuestTime);
    }
}

// It is the log that has no answer for it.
TEST_F(HostileGuest, IsAnsweredWithZerosWhereTheLogHasNoAnswer) {
    for (const std::uint8_t port : {std::uint8_t{abi::kPortEntropy}, std::uint8_t{abi::kPortRdrand64}}) {
        script_.emplace_back([port] { return engine::PortOut{port, 8}; });
        const auto stop = machine_.run({{1000}, false});
        ASSERT_TRUE(stop);
        machine_.apply(*stop, {});
        EXPECT_EQ(engine_->registers().general[engine::kRax], 0U);
    }
}

TEST_F(HostileGuest, MayStopWithAnyInstructionPointer) {
    for (const std::uint64_t rip : {kAllOnes, kAllOnes - 1, kMemory.value, kMemory.value + 1}) {
        script_.emplace_back([this, rip]() -> engine::Exit {
            engine::Registers registers;
            registers.rip = rip;
            engine_->set_registers(registers);
            return engine::Broken{"triple fault"};
        });
        const auto stop = machine_.run({{1000}, false});
        ASSERT_TRUE(stop);
        EXPECT_EQ(stop->kind, StopKind::fault);
        EXPECT_NE(machine_.registers_digest(), 0U);
        EXPECT_EQ(machine_.fault_report().instruction_bytes.size(), 0U);
    }
}

}  // namespace
}  // namespace understudy::machine
