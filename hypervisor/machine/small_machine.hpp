// The machine of the small kernel (guest/kernel): identity-mapped memory, rings of frames and text.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "hypervisor/machine/boot_image.hpp"
#include "hypervisor/machine/code/rewriter.hpp"
#include "hypervisor/machine/machine.hpp"

namespace understudy::machine {

class SmallMachine final : public Machine {
  public:
    // A machine before its first instruction. Throws understudy::Error (memory, engine).
    SmallMachine(const LoadedVm& vm, const EngineFactory& make_engine);
    // A machine whose state arrives from elsewhere: fill memory(), then restore_vcpu().
    SmallMachine(Bytes memory, const EngineFactory& make_engine);

    std::optional<Stop> run(Budget budget) override;
    // All of its programs count: it is interrupted nowhere.
    [[nodiscard]] std::vector<std::byte> processor() override { return {}; }
    std::optional<Stop> take_over(std::span<const std::byte> /*processor*/) override;
    [[nodiscard]] bool overwrite(std::span<const std::uint64_t> /*pages*/,
                                 std::span<const std::byte> /*content*/) override {
        return false;
    }
    [[nodiscard]] std::vector<Output> take_outputs() override { return std::exchange(outputs_, {}); }
    [[nodiscard]] Wants wants() override;
    [[nodiscard]] std::size_t room_for(std::span<const Frame> frames) override;
    [[nodiscard]] FrameFormat frame_format() const override { return FrameFormat::plain; }
    void apply(const Stop& stop, const Input& input) override;
    [[nodiscard]] GuestTime clock() const override { return clock_at_stop_; }
    [[nodiscard]] InstructionCount count() const override { return count_; }
    [[nodiscard]] std::uint64_t registers_digest() const override;
    [[nodiscard]] std::uint64_t memory_digest(PageRange pages) override;
    [[nodiscard]] const FaultReport& fault_report() const override { return fault_; }
    [[nodiscard]] std::string engine_name() const override { return engine_->name(); }
    [[nodiscard]] NicAddresses nic_addresses() override;
    [[nodiscard]] GuestShape shape() const override { return {GuestKind::small, memory_.size(), {}}; }
    [[nodiscard]] GuestMemory& memory() override { return memory_; }
    [[nodiscard]] std::span<std::byte> blank_memory() override;
    [[nodiscard]] std::vector<std::byte> save_vcpu() override;
    void restore_vcpu(std::span<const std::byte> state) override;
    void kick(Kick /*how*/) override { engine_->kick(); }
    void abandon() override;

  private:
    void arm(InstructionCount until);
    void stop_at_next_count();
    [[nodiscard]] bool read_counter();
    Stop next_stop();
    Stop broken(std::string reason);
    Stop stopped_at(engine::PortOut exit);
    Stop with_outputs(Stop stop);
    void report_break(std::string reason);
    void report_fault(Stop& stop);
    void describe_place();
    void answer(const Stop& stop, const Input& input);
    void rewrite_syscall_site();

    GuestMemory memory_;
    CodeRewriter rewriter_;
    std::optional<LoadedVm> vm_;
    std::unique_ptr<engine::Engine> engine_;
    InstructionCount count_;
    GuestTime clock_at_stop_{0};
    std::uint8_t port_ = 0;  // of the current stop
    std::vector<Output> outputs_;
    FaultReport fault_;
    Stop stop_;  // the current one
    std::atomic<bool> abandoned_{false};
};

}  // namespace understudy::machine
