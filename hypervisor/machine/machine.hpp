// One guest: memory, vCPU, stops, rings. Runs from stop to stop, and takes what it is fed there. It knows neither log
// nor role: recorder and replayer drive it alike.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/execution.hpp"
#include "hypervisor/engine/engine.hpp"
#include "hypervisor/machine/boot_image.hpp"
#include "hypervisor/machine/code/rewriter.hpp"
#include "hypervisor/machine/guest_memory.hpp"

namespace understudy::machine {

// How far the guest may run.
struct Budget {
    InstructionCount until;        // a budget stop there, unless another stop comes first
    bool may_stop_sooner = false;  // a kick brings the budget stop forward to the next counted instruction
};

// Why a guest broke, for people.
struct FaultReport {
    std::string reason;  // "page fault", "it overwrote its output rings"
    std::uint64_t vector = 0;
    std::uint64_t error_code = 0;
    std::uint64_t address = 0;  // CR2
    engine::Registers registers;
    std::optional<std::string> symbol;  // nearest, where the image is known
    std::vector<std::byte> instruction_bytes;

    [[nodiscard]] std::string text() const;  // several lines
};

using EngineFactory = std::function<std::unique_ptr<engine::Engine>(std::span<std::byte>, const engine::BootState&)>;

// Used by one thread, the vCPU's; kick() and abandon() excepted.
class Machine {
  public:
    // A machine before its first instruction. Throws understudy::Error (memory, engine).
    Machine(const LoadedVm& vm, const EngineFactory& make_engine);
    // A machine whose state arrives from elsewhere: fill memory(), then restore_vcpu().
    Machine(Bytes memory, const EngineFactory& make_engine);

    // Runs to the next stop. Nothing when abandon() was called.
    std::optional<Stop> run(Budget budget);
    // What the guest said up to this stop; once.
    [[nodiscard]] std::vector<Output> take_outputs() { return std::exchange(outputs_, {}); }
    // Feeds the guest at `stop`, the one that run() just returned.
    void apply(const Stop& stop, const Input& input);

    // The guest's clock at the last stop, with its input applied if it was: never less than what the guest has read.
    [[nodiscard]] GuestTime clock() const { return clock_at_stop_; }
    [[nodiscard]] InstructionCount count() const { return count_; }
    // At a stop: frames that apply() has room for.
    [[nodiscard]] std::size_t receive_capacity();
    [[nodiscard]] std::uint64_t registers_digest() const;
    [[nodiscard]] std::uint64_t memory_digest();
    [[nodiscard]] const FaultReport& fault_report() const { return fault_; }
    [[nodiscard]] std::string engine_name() const { return engine_->name(); }

    // State transfer, at a stop after apply().
    [[nodiscard]] GuestMemory& memory() { return memory_; }
    // All of it, zeroed: what a state that leaves zero pages out is written into.
    [[nodiscard]] std::span<std::byte> blank_memory();
    [[nodiscard]] std::vector<std::byte> save_vcpu();
    // Throws understudy::Error when the state is not one of this engine, or memory holds no guest.
    void restore_vcpu(std::span<const std::byte> state);

    // From any thread: ends the current interval soon, if its budget allows.
    void kick() { engine_->kick(); }
    // From any thread: run() returns nothing from now on.
    void abandon();

  private:
    void arm(InstructionCount until);
    void stop_at_next_count();
    void read_counter();
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
    std::atomic<bool> abandoned_{false};
};

}  // namespace understudy::machine
