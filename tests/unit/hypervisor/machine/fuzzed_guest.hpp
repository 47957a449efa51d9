// A guest that the bytes of a fuzzer's input play: what it writes, where it stands and why it exits.
#pragma once

#include <cstdlib>
#include <cstring>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "hypervisor/machine/machine.hpp"
#include "tests/fuzz_source.hpp"
#include "tests/unit/hypervisor/machine/idle_engine.hpp"

namespace understudy::machine {

inline void fuzz_require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

// Numbers that computations trip over, and others.
inline std::uint64_t odd_number(FuzzSource& source) {
    const std::uint8_t kind = source.u8();
    const auto near = static_cast<std::uint64_t>(std::int64_t{static_cast<std::int8_t>(source.u8())});
    switch (kind % 8) {
        case 0:
            return near;
        case 1:
            return (std::uint64_t{1} << (kind / 8 * 2)) + near;
        case 2:
            return (std::uint64_t{1} << 63U) + near;
        case 3:
            return source.u64();
        case 4:
            return source.u32();
        default:
            return source.u16();
    }
}

// Where the guest of one machine finds something to do.
struct FuzzedPlaces {
    std::vector<std::uint64_t> written;       // physical addresses: it writes from there on
    std::vector<std::uint64_t> instructions;  // where it stands
    std::vector<std::uint8_t> ports;          // that mean something
};

class FuzzedEngine final : public IdleEngine {
  public:
    FuzzedEngine(std::span<std::byte> memory, FuzzSource& source, const FuzzedPlaces& places)
        : memory_(memory), source_(source), places_(places) {}

    engine::Exit run() override {
        for (unsigned writes = source_.u8() % 8; writes > 0; --writes) {
            write();
        }
        move();
        if (source_.empty()) {
            return engine::Broken{"the input ends"};
        }
        const std::uint8_t number = source_.u8();
        const std::uint8_t port = number < 0xe0 ? places_.ports[number % places_.ports.size()] : source_.u8();
        switch (source_.u8() % 16) {
            case 0:
                return engine::Broken{"triple fault"};
            case 1:
                return engine::AbsentPort{port};
            case 2:
            case 3:
                return engine::Kicked{};
            default:
                return engine::PortOut{port, source_.u8() % 4 == 0 ? source_.u32() : source_.u16() % 0x300U};
        }
    }
    bool track_writes(bool on) override { return on; }
    [[nodiscard]] std::vector<std::uint64_t> written_pages() override { return {written_.begin(), written_.end()}; }
    void forget_writes(std::span<const std::uint64_t> pages) override {
        for (const std::uint64_t page : pages) {
            written_.erase(page);
        }
    }
    [[nodiscard]] std::vector<std::byte> save() override {
        const auto bytes = std::as_bytes(std::span(&registers(), 1));
        return {bytes.begin(), bytes.end()};
    }
    void restore(std::span<const std::byte> state) override {
        engine::Registers registers;
        if (state.size() != sizeof registers) {
            throw Error("the vCPU state has the wrong size");
        }
        std::memcpy(&registers, state.data(), sizeof registers);
        set_registers(registers);
    }

  private:
    void write() {
        const std::uint64_t at = places_.written[source_.u8() % places_.written.size()] + source_.u16() % 0x1000;
        std::uint64_t number = 0;
        std::span<const std::byte> bytes;
        if (source_.u8() % 2 == 0) {
            number = odd_number(source_);
            bytes = std::as_bytes(std::span(&number, 1));
        } else {
            bytes = source_.take(source_.u8() % 64);
        }
        if (at < memory_.size() && bytes.size() <= memory_.size() - at) {
            std::ranges::copy(bytes, memory_.subspan(at).begin());
            written_.insert(at / kPageBytes);
        }
    }
    void move() {
        engine::Registers changed = registers();
        for (unsigned count = source_.u8() % 4; count > 0; --count) {
            changed.general[source_.u8() % changed.general.size()] = odd_number(source_);
        }
        const std::uint8_t where = source_.u8();
        changed.rip = where == 0xff ? odd_number(source_) : places_.instructions[where % places_.instructions.size()];
        set_registers(changed);
    }

    std::span<std::byte> memory_;
    FuzzSource& source_;
    const FuzzedPlaces& places_;
    std::set<std::uint64_t> written_;
};

// Takes what an interval wrote, and looks whether it can be taken over.
class FuzzedPages final : public WrittenPages {
  public:
    explicit FuzzedPages(Machine& machine) : machine_(machine) {}
    void take(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) override {
        fuzz_require(numbers.size() <= kWrittenPagesAtOnce && std::ranges::is_sorted(numbers));
        fuzz_require(machine_.overwrite(numbers, content));
    }

  private:
    Machine& machine_;
};

// Input as the recorder would gather it: as much as the guest wants, or as a log claims.
inline Input fuzzed_input(FuzzSource& source, Machine& machine) {
    const Wants wants = machine.wants();
    fuzz_require(wants.random_bytes <= kMaxEntropy);
    Input input;
    input.clock = machine.clock() + std::chrono::nanoseconds(source.u16());
    if (!is_guest_time(input.clock)) {
        input.clock = kMaxGuestTime;
    }
    input.frames.resize(source.u8() % 4);
    for (Frame& frame : input.frames) {
        const auto bytes = source.take(source.u8());
        frame.assign(bytes.begin(), bytes.end());
        frame.resize(source.u8() % 4 == 0 ? source.u16() : std::max<std::size_t>(frame.size(), 60));
    }
    fuzz_require(machine.room_for(input.frames) <= input.frames.size());
    input.typed.resize(source.u8() % 4 == 0 ? source.u8() : std::min<std::size_t>(wants.console_bytes, 100));
    input.answer.resize(source.u8() % 4 == 0 ? source.u8() : wants.random_bytes, std::byte{'r'});
    return input;
}

// Runs to the next stop and looks at it as the loop does. False: the guest ended there.
inline bool fuzz_to_next_stop(FuzzSource& source, Machine& machine, Stop& last) {
    FuzzedPages pages(machine);
    const InstructionCount before = machine.count();
    Budget budget;
    budget.until = {source.u8() == 0 ? odd_number(source) : before.value + source.u16()};
    budget.may_stop_sooner = source.u8() % 4 != 0;
    budget.written = source.u8() % 2 == 0 ? &pages : nullptr;
    budget.forget_writes = source.u8() % 4 == 0;
    budget.copies_worth_a_first_write = source.u8() % 4;
    if (source.u8() % 2 == 0) {
        machine.kick(Kick::anywhere);
    }
    const auto stop = machine.run(budget);
    fuzz_require(stop && stop->number.value == last.number.value + 1);
    fuzz_require(stop->count == machine.count() && machine.count() >= before && is_guest_time(machine.clock()));
    last = *stop;
    static_cast<void>(machine.registers_digest());
    static_cast<void>(machine.memory_digest({source.u16(), 1}));
    static_cast<void>(machine.exits());
    for (const Output& output : machine.take_outputs()) {
        fuzz_require(output.kind == Output::Kind::console || is_frame_size(output.bytes.size()));
    }
    if (stop->kind == StopKind::fault) {
        fuzz_require(!machine.fault_report().text().empty());
    }
    return stop->kind != StopKind::fault && stop->kind != StopKind::exit;
}

}  // namespace understudy::machine
