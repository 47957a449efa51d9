// The monitor interrupts a program by a frame on the layer's exception stack and by one of its vectors. Both are in the
// guest's memory, and it may have made anything of them.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <optional>

#include "hypervisor/machine/linux_machine.hpp"
#include "tests/unit/hypervisor/machine/linux_image_files.hpp"
#include "tests/unit/hypervisor/machine/scripted_engine.hpp"

namespace understudy::machine {
namespace {

constexpr std::uint64_t kProgram = 0x401000;
constexpr std::uint64_t kInLayer = UNDERSTUDY_LAYER_ADDRESS + 0x600;
constexpr int kNobodysPort = 0x99;

class TrackingEngine final : public ScriptedEngine {
  public:
    using ScriptedEngine::ScriptedEngine;
    bool track_writes(bool on) override { return on; }
    [[nodiscard]] std::vector<std::uint64_t> written_pages() override { return {7}; }
};

class Pages final : public WrittenPages {
  public:
    void take(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) override {
        auto& pages = content.empty() ? zeros : taken;
        pages.insert(pages.end(), numbers.begin(), numbers.end());
    }
    std::vector<std::uint64_t> taken;
    std::vector<std::uint64_t> zeros;
};

class LinuxInterrupt : public LinuxImageFiles {
  protected:
    LinuxInterrupt() {
        layer().vectors = UNDERSTUDY_LAYER_ADDRESS + 0x400;
        layer().exception_stack = kStack;
    }

    [[nodiscard]] understudy_layer& layer() { return machine_.memory().at<understudy_layer>({config_.memory.value}); }
    [[nodiscard]] understudy_control& control() { return machine_.memory().at<understudy_control>({layer().control}); }
    void be_at(std::uint64_t rip) {
        engine::Registers registers = engine_->registers();
        registers.rip = rip;
        engine_->set_registers(registers);
    }
    // The monitor finds the guest in a program, and kicks it for good.
    engine::Exit kicked() {
        be_at(kProgram);
        machine_.kick(Kick::anywhere);
        return engine::Kicked{};
    }
    engine::Exit out(std::uint8_t port) {
        be_at(kInLayer);
        return engine::PortOut{port, 0};
    }
    // What the script makes of one interval.
    std::optional<Stop> run() { return machine_.run({{1000}, true, &pages_}); }
    [[nodiscard]] std::vector<std::uint64_t> where_frame_lies(std::uint64_t stack) const {
        stack &= ~std::uint64_t{15};  // as the processor does
        return {(config_.memory.value + stack - 40 - UNDERSTUDY_LAYER_ADDRESS) / kPageBytes,
                (config_.memory.value + stack - 1 - UNDERSTUDY_LAYER_ADDRESS) / kPageBytes};
    }

    static constexpr std::uint64_t kStack = UNDERSTUDY_LAYER_ADDRESS + 0x8000;
    ScriptedEngine::Script script_;
    engine::Engine* engine_ = nullptr;
    Pages pages_;
    LinuxMachine machine_{load_linux(config_), [this](std::span<std::byte>, const engine::BootState&) {
                              auto engine = std::make_unique<TrackingEngine>(script_);
                              engine_ = engine.get();
                              return engine;
                          }};
};

TEST_F(LinuxInterrupt, StopsAProgramAndCopiesWhatItWrote) {
    script_.emplace_back([this] { return kicked(); });
    script_.emplace_back([this] {
        EXPECT_EQ(engine_->registers().rip,
                  layer().vectors + std::uint64_t{UNDERSTUDY_INTERRUPT_VECTOR} * UNDERSTUDY_VECTOR_BYTES);
        return out(UNDERSTUDY_PORT_INTERRUPT);
    });
    const auto stop = run();
    ASSERT_TRUE(stop);
    EXPECT_EQ(stop->kind, StopKind::interrupt);
    EXPECT_EQ(std::ranges::count(pages_.taken, where_frame_lies(kStack).front()), 1);
    EXPECT_EQ(std::ranges::count(pages_.taken, 7), 1);
}

// Pages that have been handed out belong to a stop of this kind and to no other: who follows could not take them over.
TEST_F(LinuxInterrupt, WhateverAnInterruptedIntervalEndsWithIsTheInterruptsStop) {
    for (const int port : {UNDERSTUDY_PORT_IDLE, UNDERSTUDY_PORT_BUDGET, UNDERSTUDY_PORT_DEVICE, UNDERSTUDY_PORT_EXIT,
                           UNDERSTUDY_PORT_FAULT, kNobodysPort}) {
        pages_.taken.clear();
        script_.emplace_back([this] { return kicked(); });
        script_.emplace_back([this, port] { return out(static_cast<std::uint8_t>(port)); });
        const auto stop = run();
        ASSERT_TRUE(stop);
        EXPECT_EQ(stop->kind, StopKind::interrupt) << port;
        EXPECT_FALSE(pages_.taken.empty());
    }
    script_.emplace_back([this] { return kicked(); });
    script_.emplace_back([] { return engine::Broken{"triple fault"}; });
    script_.emplace_back([] { return engine::Broken{"triple fault"}; });
    EXPECT_EQ(run()->kind, StopKind::interrupt);
    EXPECT_EQ(run()->kind, StopKind::fault);
}

TEST_F(LinuxInterrupt, AnImpossibleCounterIsAFaultOnlyWhereTheGuestStoppedByItself) {
    const InstructionCount before = machine_.count();
    const auto wreck_counter = [this] {
        control().armed = -5;
        control().cell = 0;
    };
    script_.emplace_back([this] { return kicked(); });
    script_.emplace_back([&] {
        wreck_counter();
        return out(UNDERSTUDY_PORT_INTERRUPT);
    });
    EXPECT_EQ(run()->kind, StopKind::interrupt);
    script_.emplace_back([&] {
        wreck_counter();
        return out(UNDERSTUDY_PORT_IDLE);
    });
    const auto stop = run();
    EXPECT_EQ(stop->kind, StopKind::fault);
    EXPECT_EQ(stop->count, before);
}

class LateInterrupt : public LinuxInterrupt {
  protected:
    // Writes were tracked at first; by now nobody does.
    LateInterrupt() {
        script_.emplace_back([this] { return out(UNDERSTUDY_PORT_IDLE); });
        const auto stop = run();
        Input input;
        input.clock = WriteTracking::kAtFirst;
        machine_.apply(*stop, input);
    }
    void pass(unsigned kicks) {
        for (unsigned i = 0; i < kicks; ++i) {
            script_.emplace_back([this] { return kicked(); });
        }
    }
    void expect_tracked() {
        pages_.taken.clear();
        pass(1);
        script_.emplace_back([this] { return out(UNDERSTUDY_PORT_INTERRUPT); });
        EXPECT_EQ(run()->kind, StopKind::interrupt);
        EXPECT_LT(pages_.taken.size(), 10u);
        EXPECT_EQ(machine_.pages_tracked(), pages_.taken.size());
    }
};

TEST_F(LateInterrupt, LetsAProgramGoOnForAWhileAndCopiesAllMemoryThen) {
    pass(6);
    script_.emplace_back([this] { return out(UNDERSTUDY_PORT_INTERRUPT); });
    EXPECT_EQ(run()->kind, StopKind::interrupt);
    EXPECT_EQ(pages_.taken, machine_.memory().ever_written().pages);
    EXPECT_EQ(machine_.pages_tracked(), std::nullopt);
    expect_tracked();
}

// A page that a program has made zero may be the host's page of zeros by now, and hold something elsewhere.
TEST_F(LateInterrupt, CopiesZerosToo) {
    constexpr std::uint64_t kPage = 700;
    const auto page = *machine_.memory().range({kPage * kPageBytes}, kPageBytes);
    std::ranges::fill(page, std::byte{1});
    pass(6);
    script_.emplace_back([&] {
        ::madvise(page.data(), page.size(), MADV_DONTNEED);
        EXPECT_EQ(page[0], std::byte{0});
        return out(UNDERSTUDY_PORT_INTERRUPT);
    });
    EXPECT_EQ(run()->kind, StopKind::interrupt);
    EXPECT_EQ(std::ranges::count(pages_.zeros, kPage), 1);

    std::ranges::fill(page, std::byte{1});
    EXPECT_TRUE(machine_.overwrite(pages_.zeros, {}));
    EXPECT_EQ(page[0], std::byte{0});
}

TEST_F(LateInterrupt, IsReadyForAProgramThatStopsByItselfButSeldom) {
    for (int i = 0; i < WriteTracking::kMisses; ++i) {
        pass(5);
        script_.emplace_back([this] { return out(UNDERSTUDY_PORT_IDLE); });
        EXPECT_EQ(run()->kind, StopKind::idle);
    }
    EXPECT_TRUE(pages_.taken.empty());
    expect_tracked();
}

TEST_F(LateInterrupt, ProgramsThatOftenStopCostNothing) {
    for (int i = 0; i < 10; ++i) {
        pass(2);
        script_.emplace_back([this] { return out(UNDERSTUDY_PORT_IDLE); });
        EXPECT_EQ(run()->kind, StopKind::idle);
    }
    EXPECT_TRUE(pages_.taken.empty());
}

TEST(WriteTrackingTest, IsOnAtFirstAndAsLongAsItIsNeeded) {
    WriteTracking tracking;
    const GuestTime begin = std::chrono::hours(7);
    const GuestTime hold = WriteTracking::kAtFirst;
    EXPECT_TRUE(tracking.wanted(begin));
    EXPECT_TRUE(tracking.wanted(begin + hold - GuestTime{1}));
    tracking.needed(begin + hold - GuestTime{1});
    EXPECT_TRUE(tracking.wanted(begin + hold));
    EXPECT_FALSE(tracking.wanted(begin + 2 * hold));
}

TEST(WriteTrackingTest, WhatWasMissedNowAndThenIsNoReason) {
    WriteTracking tracking;
    (void)tracking.wanted(GuestTime{0});
    GuestTime now = std::chrono::minutes(1);
    for (int i = 0; i < 50; ++i) {
        now += std::chrono::milliseconds(400);
        tracking.missed(now);
        EXPECT_FALSE(tracking.wanted(now));
    }
    for (int i = 0; i < WriteTracking::kMisses; ++i) {
        now += std::chrono::milliseconds(100);
        tracking.missed(now);
    }
    EXPECT_TRUE(tracking.wanted(now));
}

TEST(WriteTrackingTest, StaysOnLongerEachTimeItWasMissed) {
    WriteTracking tracking;
    GuestTime now{0};
    GuestTime held{0};
    (void)tracking.wanted(now);
    for (int i = 0; i < 12; ++i) {
        now += std::chrono::hours(2);
        EXPECT_FALSE(tracking.wanted(now));
        tracking.needed(now);
        GuestTime until = now;
        while (tracking.wanted(until)) {
            until += std::chrono::seconds(1);
        }
        EXPECT_TRUE(until - now > held || until - now >= WriteTracking::kLongest);
        held = until - now;
    }
    EXPECT_LE(held, WriteTracking::kLongest + std::chrono::seconds(1));
}

TEST_F(LinuxInterrupt, MayFindAnythingForTheLayersStack) {
    for (const std::uint64_t stack :
         {std::uint64_t{0}, ~std::uint64_t{0}, UNDERSTUDY_LAYER_ADDRESS + 39, UNDERSTUDY_LAYER_ADDRESS + 41, kStack + 1,
          kStack + 8, kStack + 16, UNDERSTUDY_LAYER_ADDRESS + UNDERSTUDY_LAYER_BYTES,
          UNDERSTUDY_LAYER_ADDRESS + UNDERSTUDY_LAYER_BYTES + 8}) {
        layer().exception_stack = stack;
        pages_.taken.clear();
        script_.emplace_back([this] { return kicked(); });
        script_.emplace_back([this] { return out(UNDERSTUDY_PORT_BUDGET); });
        const auto stop = run();
        ASSERT_TRUE(stop);
        if (stop->kind == StopKind::interrupt) {
            for (const std::uint64_t page : where_frame_lies(stack)) {
                EXPECT_EQ(std::ranges::count(pages_.taken, page), 1) << std::hex << stack;
            }
        }
    }
}

}  // namespace
}  // namespace understudy::machine
