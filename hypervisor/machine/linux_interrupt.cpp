// How a Linux guest's programs that count nothing are interrupted: between any two of their instructions, as a
// processor does it, but by the monitor. What the interval up to there wrote is copied, because nobody can run it again
// to the same place.
#include <algorithm>

#include "hypervisor/machine/linux_machine.hpp"

namespace understudy::machine {
namespace {

// Programs are in the lower half of the address space; kernel and layer in the upper.
constexpr std::uint64_t kProgramsEnd = std::uint64_t{1} << 47U;

// What the processor pushes for an interrupt.
struct InterruptFrame {
    std::uint64_t rip;
    std::uint64_t code_selector;
    std::uint64_t rflags;
    std::uint64_t rsp;
    std::uint64_t data_selector;
};

constexpr std::uint64_t kCodeSelector = 0x33;
constexpr std::uint64_t kDataSelector = 0x2b;
constexpr std::uint64_t kStackAlignment = 16;

// Whether a frame at `address` is written as a whole, to one page: that page is copied.
bool is_place_for_frame(std::uint64_t address) {
    return address % kPageBytes <= kPageBytes - sizeof(InterruptFrame);
}

}  // namespace

void LinuxMachine::kick(Kick how) {
    if (how == Kick::anywhere) {
        kicked_anywhere_ = true;
    }
    const std::lock_guard lock(engine_changes_);
    if (engine_) {  // none where the host had none for a guest that restarts
        engine_->kick();
    }
}

// In the kernel the cell is counted down soon; in a program, or one instruction before it, maybe never. What cannot be
// interrupted just now will be kicked again.
void LinuxMachine::kicked(const Budget& budget) {
    const bool anywhere = kicked_anywhere_.exchange(false);
    if (!budget.may_stop_sooner) {
        return;
    }
    stop_at_next_count();
    if (anywhere && !interrupted_at_ && engine_->registers().rip < kProgramsEnd && engine_->interruptible() &&
        may_interrupt(budget)) {
        interrupt();
    }
}

void LinuxMachine::interrupt() {
    engine::Registers registers = engine_->registers();
    const std::uint64_t stack = layer().exception_stack / kStackAlignment * kStackAlignment;
    const std::uint64_t frame = stack - sizeof(InterruptFrame);
    const std::uint64_t vectors = layer().vectors;
    if (!in_layer(vectors) || !in_layer(frame) || !is_place_for_frame(frame)) {
        return;  // the guest has overwritten its layer; it will meet the consequences by itself
    }
    interrupted_at_ = {places_.ram + frame - UNDERSTUDY_LAYER_ADDRESS};
    memory_.at<InterruptFrame>(*interrupted_at_) = {registers.rip, kCodeSelector,
                                                    registers.rflags | engine::kInitialRflags,
                                                    registers.general[engine::kRsp], kDataSelector};
    registers.rip = vectors + std::uint64_t{UNDERSTUDY_INTERRUPT_VECTOR} * UNDERSTUDY_VECTOR_BYTES;
    registers.general[engine::kRsp] = frame;
    registers.rflags = engine::kInitialRflags;
    engine_->set_registers(registers);
}

// However the interval ended that was to end with the interrupt's own stop: a guest may have overwritten its vector.
// Nobody can run the interval again, so it is copied, and what the guest did instead of stopping is gone.
Stop LinuxMachine::interrupted(const Budget& budget) {
    write_tracking_.needed(clock_at_stop_);
    if (budget.written != nullptr && tracks_writes_) {
        copy_written(budget);
    } else if (budget.written != nullptr) {
        copy_all(*budget.written);
    }
    return stopped_at({UNDERSTUDY_PORT_INTERRUPT, 0});
}

std::optional<Stop> LinuxMachine::take_over(std::span<const std::byte> processor) {
    if (abandoned_) {
        return std::nullopt;
    }
    engine_->restore(processor);
    forget_translations_ = true;
    return stopped_at({UNDERSTUDY_PORT_INTERRUPT, 0});
}

}  // namespace understudy::machine
