// Any bytes as the life of a Linux guest: the state that a peer sent of it, what it leaves in its layer, control page
// and device pages, where it stops, deltas in its stead. The monitor computes with all of it; nothing aborts, overflows
// or goes on without end.
#include <array>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>

#include "common/bytes.hpp"
#include "common/digest.hpp"
#include "common/temporary_directory.hpp"
#include "hypervisor/machine/boot_copy.hpp"
#include "hypervisor/machine/linux_machine.hpp"
#include "tests/unit/hypervisor/machine/elf_file.hpp"
#include "tests/unit/hypervisor/machine/fuzzed_guest.hpp"

namespace {

using namespace understudy;
using namespace understudy::machine;

constexpr std::size_t kMaxStops = 32;
constexpr std::uint64_t kRam = 2U << 20;
constexpr std::uint64_t kControl = 0x10000;
constexpr std::uint64_t kQueues = 0x20000;
constexpr std::uint64_t kInLayer = UNDERSTUDY_LAYER_ADDRESS + 0x600;
constexpr std::uint64_t kExceptionStack = 0x9000;  // in the layer's region: its upper end
// In a saved state, behind its version.
constexpr std::size_t kRamAt = 4;
constexpr std::size_t kControlAt = 12;

const FuzzedPlaces& places() {
    static const FuzzedPlaces places = {
        {kRam, kControl, kQueues, kRam + UNDERSTUDY_DEVICES_OFFSET, kRam + UNDERSTUDY_DEVICES_OFFSET + kPageBytes,
         kRam + UNDERSTUDY_DEVICES_OFFSET + 2 * kPageBytes, kRam + UNDERSTUDY_CONSOLE_OFFSET,
         kRam + kExceptionStack - kPageBytes, whole_memory({kRam}).value},
        {kInLayer, kInLayer, 0x401000, kKernelMap + 0x1000000},
        {UNDERSTUDY_PORT_IDLE, UNDERSTUDY_PORT_BUDGET, UNDERSTUDY_PORT_DEVICE, UNDERSTUDY_PORT_FLUSH,
         UNDERSTUDY_PORT_INTERRUPT, UNDERSTUDY_PORT_PAGE_TABLE, UNDERSTUDY_PORT_FLUSH_TLB,
         UNDERSTUDY_PORT_FAULT_ADDRESS, UNDERSTUDY_PORT_IDLE, UNDERSTUDY_PORT_DEVICE, UNDERSTUDY_PORT_EXIT,
         UNDERSTUDY_PORT_FAULT}};
    return places;
}

// The state of a guest that has just booted, but for where things are in its memory.
std::string booted() {
    const TemporaryDirectory folder;
    const auto file = [&](const char* name, const std::string& content) {
        const auto path = folder.path() / name;
        std::ofstream(path, std::ios::binary) << content;
        return path.string();
    };
    LinuxConfig config;
    config.memory = 64_MiB;
    config.kernel = file("vmlinux", kernel_file());
    config.layer = file("layer", layer_file(UNDERSTUDY_PV_VERSION));
    config.initrd = file("initrd", "initrd");
    config.has_network = true;
    config.restarts_on_reboot = true;
    FuzzSource none({});
    LinuxMachine machine(load_linux(config), [&](std::span<std::byte> memory, const engine::BootState&) {
        return std::make_unique<FuzzedEngine>(memory, none, places());
    });
    std::string state(as_text(machine.save_vcpu()));
    // What it restarts from is empty: the copy's first page says so by zeros.
    const auto number = [](std::uint64_t value) {
        std::string bytes;
        append_little_endian(bytes, value);
        return bytes;
    };
    const std::uint64_t copied = keep_boot_copy(machine.memory(), whole_memory(config.memory).value);
    const std::array<std::byte, kPageBytes> nothing{};
    state.replace(state.find(number(copied)), sizeof copied, number(digest(nothing)));
    write_little_endian(state.data() + kRamAt, kRam);
    write_little_endian(state.data() + kControlAt, kControl);
    return state;
}

class Life {
  public:
    Life(const std::uint8_t* data, std::size_t size) : source_(data, size) {
        auto& layer = machine_->memory().at<understudy_layer>({kRam});
        layer.vectors = UNDERSTUDY_LAYER_ADDRESS + 0x400;
        layer.exception_stack = UNDERSTUDY_LAYER_ADDRESS + kExceptionStack;
        layer.control = kControl;
    }

    void live() {
        try {
            machine_->restore_vcpu(as_bytes(received()));
        } catch (const Error&) {
            return;
        }
        last_.number = stop_number();
        for (std::size_t stops = 0; stops < kMaxStops && !source_.empty(); ++stops) {
            const bool taken_over = source_.u8() % 8 == 0;
            if (taken_over ? !take_over() : !fuzz_to_next_stop(source_, *machine_, last_)) {
                return;
            }
            machine_->apply(last_, fuzzed_input(source_, *machine_));
            if (source_.u8() % 32 == 0) {  // takes long
                move();
            }
        }
    }

  private:
    std::unique_ptr<LinuxMachine> blank() {
        const GuestShape shape{GuestKind::linux_guest, {whole_memory({kRam}).value + (2U << 20)}, {}};
        return std::make_unique<LinuxMachine>(shape, "", [this](std::span<std::byte> memory, const engine::BootState&) {
            return std::make_unique<FuzzedEngine>(memory, source_, places());
        });
    }

    // With some of its bytes changed, and cut off.
    std::string received() {
        static const std::string good = booted();
        std::string state = good;
        for (unsigned count = source_.u8() % 16; count > 0; --count) {
            const std::size_t at = source_.u16() % state.size();
            const std::uint64_t number = odd_number(source_);
            for (std::size_t i = 0; i < sizeof number && at + i < state.size(); ++i) {
                state[at + i] = static_cast<char>(number >> (8 * i));
            }
        }
        if (source_.u8() == 0xff) {
            state.resize(source_.u16() % state.size());
        }
        return state;
    }

    // The last thing that a state says of stops is how many there were.
    [[nodiscard]] StopNumber stop_number() {
        constexpr std::size_t kAt = kControlAt + 2 * sizeof(std::uint64_t);
        return {read_little_endian<std::uint64_t>(machine_->save_vcpu().data() + kAt)};
    }

    bool take_over() {
        std::vector<std::uint64_t> pages(source_.u8() % 4);
        for (std::uint64_t& page : pages) {
            page = source_.u8() % 4 == 0 ? odd_number(source_) : source_.u16() % 0x800U;
        }
        std::vector<std::byte> content(pages.size() * kPageBytes - (source_.u8() == 0xff && !pages.empty() ? 1 : 0));
        const auto bytes = source_.take(source_.u8());
        for (std::size_t page = 0; page + kPageBytes <= content.size(); page += kPageBytes) {
            std::ranges::copy(bytes, content.begin() + static_cast<std::ptrdiff_t>(page));
        }
        if (!machine_->overwrite(pages, content)) {
            return false;
        }
        try {
            const auto processor = source_.u8() % 2 == 0 ? machine_->processor() : std::vector<std::byte>(source_.u8());
            const auto stop = machine_->take_over(processor);
            fuzz_require(stop && stop->kind == StopKind::interrupt);
            fuzz_require(stop->number.value == last_.number.value + 1 && is_guest_time(machine_->clock()));
            last_ = *stop;
        } catch (const Error&) {
            return false;
        }
        static_cast<void>(machine_->take_outputs());
        return true;
    }

    // To another host.
    void move() {
        auto other = blank();
        std::ranges::copy(machine_->memory().all(), other->blank_memory().begin());
        other->restore_vcpu(machine_->save_vcpu());
        fuzz_require(other->count() == machine_->count());
        fuzz_require(other->save_vcpu() == machine_->save_vcpu());
        machine_ = std::move(other);
    }

    FuzzSource source_;
    std::unique_ptr<LinuxMachine> machine_ = blank();
    Stop last_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Life(data, size).live();
    return 0;
}
