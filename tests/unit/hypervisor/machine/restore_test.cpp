// A state that came from elsewhere is not trusted: what the monitor would trip over is refused before the guest runs.
#include <gtest/gtest.h>

#include "hypervisor/machine/small_machine.hpp"
#include "tests/unit/hypervisor/machine/idle_engine.hpp"

namespace understudy::machine {
namespace {

class Restore : public testing::Test {
  protected:
    Restore() {
        for (abi::Region* ring : {&state().receive_ring, &state().transmit_ring, &state().console_ring}) {
            *ring = {4U << 20, 8 * abi::kFrameSlotSize};
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

}  // namespace
}  // namespace understudy::machine
