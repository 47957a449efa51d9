// A state that came from elsewhere is not trusted: what the monitor would trip over is refused before the guest runs.
#include <gtest/gtest.h>

#include <utility>

#include "hypervisor/machine/linux_machine.hpp"
#include "hypervisor/machine/platform.hpp"
#include "hypervisor/machine/small_machine.hpp"
#include "tests/unit/hypervisor/machine/idle_engine.hpp"
#include "tests/unit/hypervisor/machine/linux_image_files.hpp"

namespace understudy::machine {
namespace {

class Restore : public testing::Test {
  protected:
    Restore() {
        for (abi::Region* ring : {&state().receive_ring, &state().transmit_ring, &state().console_ring}) {
            *ring = {4U << 20, std::uint64_t{8} * abi::kFrameSlotSize};
        }
    }
    MonitorState& state() { return monitor_state(machine_.memory()); }

    SmallMachine machine_{
        8_MiB, [](std::span<std::byte>, const engine::BootState&) { return std::make_unique<IdleEngine>(); }};
};

TEST_F(Restore, TakesAGuestWhoseRingsMakeSense) {
    EXPECT_NO_THROW(machine_.restore_vcpu({}));
}

TEST_F(Restore, RefusesRingsOutsideMemory) {
    state().console_ring.base = 8U << 20;
    EXPECT_THROW(machine_.restore_vcpu({}), Error);
}

TEST_F(Restore, RefusesRingsWithoutAWholeSlot) {
    state().receive_ring.size = abi::kFrameSlotSize / 2;
    EXPECT_THROW(machine_.restore_vcpu({}), Error);
    state().receive_ring.size = 0;
    EXPECT_THROW(machine_.restore_vcpu({}), Error);
}

TEST_F(Restore, RefusesTrampolinesBeyondTheirRoom) {
    state().trampoline_used = abi::kTrampolineLimit - abi::kTrampolineBase;
    EXPECT_NO_THROW(machine_.restore_vcpu({}));
    for (const std::uint64_t used : {state().trampoline_used + 1, ~std::uint64_t{0} - 31}) {
        state().trampoline_used = used;
        EXPECT_THROW(machine_.restore_vcpu({}), Error);
    }
}

// A peer, or a log's header, says how much memory its guest has.
TEST(RestoreOfSmallGuests, RefusesMemoryThatNoGuestHas) {
    const auto make = [](std::span<std::byte>, const engine::BootState&) { return std::make_unique<IdleEngine>(); };
    for (const Bytes memory : {Bytes{4096}, Bytes{256U << 10U}, 2_MiB, Bytes{(8U << 20U) + 4096},
                               Bytes{kMaxMemory.value + x86::kLargePageBytes}}) {
        EXPECT_THROW(SmallMachine(memory, make), Error) << memory.value;
    }
    EXPECT_NO_THROW(SmallMachine(8_MiB, make));
}

// Knows a state by its length.
class PickyEngine final : public IdleEngine {
  public:
    explicit PickyEngine(std::size_t first) : next_(first) {}
    [[nodiscard]] std::vector<std::byte> save() override {
        return std::vector<std::byte>(std::exchange(next_, kSound));
    }
    void restore(std::span<const std::byte> state) override {
        if (state.size() != kSound) {
            throw Error("no state of a vCPU");
        }
    }
    static constexpr std::size_t kSound = 8;

  private:
    std::size_t next_;
};

class RestoreOfLinux : public LinuxImageFiles {
  protected:
    // The state of a guest that restarts with a vCPU's state of so many bytes.
    std::vector<std::byte> state(std::size_t restart) {
        config_.restarts_on_reboot = true;
        LinuxMachine machine(load_linux(config_), [&](std::span<std::byte>, const engine::BootState&) {
            return std::make_unique<PickyEngine>(restart);
        });
        shape_ = machine.shape();
        return machine.save_vcpu();
    }
    void restore(const std::vector<std::byte>& state) const {
        LinuxMachine(shape_, "", [&](std::span<std::byte>, const engine::BootState&) {
            return std::make_unique<PickyEngine>(0);
        }).restore_vcpu(state);
    }

    GuestShape shape_;
};

TEST_F(RestoreOfLinux, RefusesAGuestThatCouldNotRestart) {
    EXPECT_NO_THROW(restore(state(PickyEngine::kSound)));
    EXPECT_THROW(restore(state(PickyEngine::kSound + 1)), Error);
}

}  // namespace
}  // namespace understudy::machine
