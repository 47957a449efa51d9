// A state that came from elsewhere is not trusted: what the monitor would trip over is refused before the guest runs.
#include <gtest/gtest.h>

#include "hypervisor/machine/machine.hpp"

namespace understudy::machine {
namespace {

// Executes nothing; restoring a state is all that these tests ask of it.
class IdleEngine final : public engine::Engine {
  public:
    [[nodiscard]] std::string name() const override { return "idle"; }
    engine::Exit run() override { return engine::Kicked{}; }
    void complete() override {}
    [[nodiscard]] const engine::Registers& registers() const override { return registers_; }
    void set_registers(const engine::Registers& registers) override { registers_ = registers; }
    void enter_ring3(const engine::Registers& registers) override { registers_ = registers; }
    [[nodiscard]] std::uint64_t fault_address() override { return 0; }
    [[nodiscard]] std::vector<std::byte> save() override { return {}; }
    void restore(std::span<const std::byte> /*state*/) override {}
    [[nodiscard]] std::uint64_t extended_state_digest() override { return 0; }
    void kick() override {}

  private:
    engine::Registers registers_;
};

class Restore : public testing::Test {
  protected:
    Restore() {
        for (abi::Region* ring : {&state().receive_ring, &state().transmit_ring, &state().console_ring}) {
            *ring = {4U << 20, 8 * abi::kFrameSlotSize};
        }
    }
    MonitorState& state() { return monitor_state(machine_.memory()); }

    Machine machine_{8_MiB,
                     [](std::span<std::byte>, const engine::BootState&) { return std::make_unique<IdleEngine>(); }};
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
