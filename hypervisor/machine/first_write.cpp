#include "hypervisor/machine/first_write.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "hypervisor/machine/platform.hpp"

namespace understudy::machine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Bytes kMemory = 8_MiB;
constexpr GuestAddress kCode{2U << 20U};
constexpr GuestAddress kWritten{4U << 20U};
constexpr std::uint64_t kPages = 128;
constexpr int kRounds = 3;  // the quickest counts: whatever else the host does makes it slower

// next: mov %al, (%rdi); add $4096, %rdi; dec %ecx; jnz next; out %eax, $0x10
constexpr std::array<std::uint8_t, 15> kWriter = {0x88, 0x07, 0x48, 0x81, 0xc7, 0x00, 0x10, 0x00,
                                                  0x00, 0xff, 0xc9, 0x75, 0xf3, 0xe7, 0x10};

// How long the guest takes to write once to each page. Nothing: it does not run.
std::optional<Clock::duration> write_all(engine::Engine& engine, engine::Registers registers) {
    registers.general[engine::kRdi] = kWritten.value;
    registers.general[engine::kRcx] = kPages;
    engine.set_registers(registers);
    const auto begin = Clock::now();
    for (;;) {
        const engine::Exit exit = engine.run();
        if (std::holds_alternative<engine::PortOut>(exit)) {
            const auto took = Clock::now() - begin;
            engine.complete();
            return took;
        }
        if (std::holds_alternative<engine::Broken>(exit)) {
            return std::nullopt;
        }
    }
}

}  // namespace

std::chrono::nanoseconds measure_first_write(const EngineFactory& make_engine) {
    GuestMemory memory(kMemory);
    engine::BootState boot = write_platform(memory, kCode);
    memory.at<std::array<std::uint8_t, kWriter.size()>>(kCode) = kWriter;
    boot.registers.rip = kCode.value;
    const auto engine = make_engine(memory.all(), boot);
    if (!engine->track_writes(true) || !write_all(*engine, boot.registers)) {
        return {};
    }
    auto first = Clock::duration::max();
    auto again = Clock::duration::max();
    for (int round = 0; round < kRounds; ++round) {
        engine->forget_writes(engine->written_pages());
        for (auto* const quickest : {&first, &again}) {
            const auto took = write_all(*engine, boot.registers);
            if (!took) {
                return {};
            }
            *quickest = std::min(*quickest, *took);
        }
    }
    return std::max(first - again, Clock::duration(0)) / kPages;
}

}  // namespace understudy::machine
