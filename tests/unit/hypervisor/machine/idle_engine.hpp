// An engine for tests of what stands around one.
#pragma once

#include "hypervisor/engine/engine.hpp"

namespace understudy::machine {

// Executes nothing: a machine that is only set up, or whose guest the test plays itself.
class IdleEngine : public engine::Engine {
  public:
    [[nodiscard]] std::string name() const override { return "idle"; }
    engine::Exit run() override { return engine::Kicked{}; }
    void complete() override {}
    [[nodiscard]] const engine::Registers& registers() const override { return registers_; }
    void set_registers(const engine::Registers& registers) override { registers_ = registers; }
    void enter_ring3(const engine::Registers& registers) override { registers_ = registers; }
    void set_page_table(std::uint64_t /*address*/) override {}
    void flush_tlb() override {}
    [[nodiscard]] std::uint64_t fault_address() override { return 0; }
    [[nodiscard]] bool interruptible() override { return true; }
    bool track_writes(bool /*on*/) override { return false; }
    [[nodiscard]] std::vector<std::uint64_t> written_pages() override { return {}; }
    void forget_writes(std::span<const std::uint64_t> /*pages*/) override {}
    void forget_translations() override {}
    [[nodiscard]] std::vector<std::byte> save() override { return {}; }
    void restore(std::span<const std::byte> /*state*/) override {}
    [[nodiscard]] std::uint64_t extended_state_digest() override { return 0; }
    void kick() override {}

  private:
    engine::Registers registers_;
};

}  // namespace understudy::machine
