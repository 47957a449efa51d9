// Any bytes as the life of a small kernel's guest: what a peer sent of it, what it leaves in its control page and
// rings, where it stops, what arrives. The monitor computes with all of it; nothing aborts, overflows or goes on
// without end.
#include <cstdint>
#include <memory>

#include "hypervisor/machine/platform.hpp"
#include "hypervisor/machine/small_machine.hpp"
#include "tests/unit/hypervisor/machine/fuzzed_guest.hpp"

namespace {

using namespace understudy;
using namespace understudy::machine;

constexpr std::size_t kMaxStops = 32;
constexpr std::uint64_t kProgram = abi::kProgramBase;
constexpr std::uint64_t kRings = 5U << 20;
constexpr std::uint64_t kRing = std::uint64_t{8} * abi::kFrameSlotSize;

const FuzzedPlaces& places() {
    static const FuzzedPlaces places = {
        {abi::kControlBase, kProgram, kRings, kRings + kRing, kRings + 2 * kRing, abi::kKernelBase, abi::kBootBase},
        {kProgram, abi::kKernelBase, 0x8000},
        {abi::kPortIdle, abi::kPortBudget, abi::kPortEntropy, abi::kPortFlush, abi::kPortScanCode, abi::kPortSyscall,
         abi::kPortRdtsc, abi::kPortRdtscp, abi::kPortCpuid, abi::kPortXgetbv, abi::kPortRdrand32, abi::kPortRdpid,
         abi::kPortFault}};
    return places;
}

class Life {
  public:
    Life(const std::uint8_t* data, std::size_t size) : source_(data, size) {
        MonitorState& monitor = monitor_state(machine_->memory());
        monitor.receive_ring = {kRings, kRing};
        monitor.transmit_ring = {kRings + kRing, kRing};
        monitor.console_ring = {kRings + 2 * kRing, kRing};
    }

    void live() {
        damage();
        try {
            machine_->restore_vcpu(source_.take(source_.u8() % 2 == 0 ? sizeof(engine::Registers) : source_.u8()));
        } catch (const Error&) {
            return;
        }
        static_cast<void>(machine_->nic_addresses());
        last_.number = {monitor_state(machine_->memory()).stop_number};
        for (std::size_t stops = 0; stops < kMaxStops && !source_.empty(); ++stops) {
            if (!fuzz_to_next_stop(source_, *machine_, last_)) {
                return;
            }
            machine_->apply(last_, fuzzed_input(source_, *machine_));
            if (source_.u8() % 32 == 0) {  // takes long
                move();
            }
        }
    }

  private:
    std::unique_ptr<SmallMachine> blank() {
        return std::make_unique<SmallMachine>(6_MiB, [this](std::span<std::byte> memory, const engine::BootState&) {
            return std::make_unique<FuzzedEngine>(memory, source_, places());
        });
    }

    // In what only the monitor writes, but for the tables of pages, which it does not read.
    void damage() {
        constexpr std::uint64_t kMonitors = 0x9000;
        for (unsigned count = source_.u8() % 16; count > 0; --count) {
            const std::uint64_t at = kMonitors + (source_.u16() & 0x1ff8U);
            machine_->memory().at<std::uint64_t>({at}) = odd_number(source_);
        }
    }

    // To another host.
    void move() {
        auto other = blank();
        std::ranges::copy(machine_->memory().all(), other->blank_memory().begin());
        other->restore_vcpu(machine_->save_vcpu());
        fuzz_require(other->count() == machine_->count() && other->clock() == machine_->clock());
        machine_ = std::move(other);
    }

    FuzzSource source_;
    std::unique_ptr<SmallMachine> machine_ = blank();
    Stop last_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Life(data, size).live();
    return 0;
}
