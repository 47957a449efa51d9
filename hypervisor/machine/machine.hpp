// One guest as whoever drives it sees it: runs from stop to stop, says what it has to say, takes what it is fed there.
// It knows neither log nor role: recorder and replayer drive it alike.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/execution.hpp"
#include "common/guest_shape.hpp"
#include "hypervisor/engine/engine.hpp"
#include "hypervisor/memory/guest_memory.hpp"

namespace understudy::machine {

using memory::GuestAddress;
using memory::GuestMemory;

// Takes what the guest wrote in an interval that nobody can run again (Delta).
class WrittenPages {
  public:
    virtual ~WrittenPages() = default;
    // Whole pages, `numbers` of them in increasing order; each page of a delta once, in several calls if there are
    // many. No content: they are zero.
    virtual void take(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) = 0;
};
// In one call at the most: 1 MiB.
constexpr std::size_t kWrittenPagesAtOnce = 256;

// How far the guest may run.
struct Budget {
    InstructionCount until;        // a budget stop there, unless another stop comes first
    bool may_stop_sooner = false;  // a kick ends the interval before that
    // Who wants to know what the guest writes in the intervals from this one on; null: nobody.
    WrittenPages* written = nullptr;
    // What the guest wrote before this interval is of no interest any more. Costs something, and makes deltas smaller.
    bool forget_writes = false;
    // As many copies of a page cost what the fault at the first write to it costs, where writes are tracked.
    unsigned copies_worth_a_first_write = 0;
};

// How a kick ends an interval that may stop sooner.
enum class Kick : std::uint8_t {
    at_next_count,  // with a budget stop at the guest's next counted instruction
    anywhere,       // where a program is executed that counts nothing, by interrupting it; else as above
};

// What a guest wants at a stop, before it goes on.
struct Wants {
    std::size_t frames = 0;         // that apply() has room for, if they are small; see Machine::room_for()
    std::size_t console_bytes = 0;  // typed in, that apply() has room for
    std::size_t random_bytes = 0;   // that apply() must bring
    bool to_run = false;            // it has something to do, whatever arrives
};

// The addresses that a guest's NIC starts with: all zero where it has none.
struct NicAddresses {
    MacAddress mac{};
    std::uint32_t ipv4 = 0;  // network byte order
};

// Why a guest broke, for people.
struct FaultReport {
    std::string reason;  // "page fault", "it overwrote its output rings"
    // What follows, up to last_words, is the processor's state where it broke. False: the guest gave up by itself, and
    // where it did so says nothing.
    bool has_state = true;
    std::uint64_t vector = 0;
    std::uint64_t error_code = 0;
    std::uint64_t address = 0;  // CR2
    engine::Registers registers;
    std::optional<std::string> symbol;  // nearest, where the image is known
    std::vector<std::byte> instruction_bytes;
    std::string last_words;  // the last lines of its console, where they tell more

    [[nodiscard]] std::string text() const;  // several lines
};

// What led out of a guest, or into its layer, since it began on this host: for reports, no part of its state.
struct ExitFigures {
    struct Figure {
        std::string_view kind;  // "idle", "flush_tlb"
        std::uint64_t count = 0;
    };
    std::vector<Figure> figures;
};

using EngineFactory = std::function<std::unique_ptr<engine::Engine>(std::span<std::byte>, const engine::BootState&)>;

// Used by one thread, the vCPU's; kick() and abandon() excepted.
class Machine {
  public:
    virtual ~Machine() = default;

    // Runs to the next stop. Nothing when abandon() was called.
    virtual std::optional<Stop> run(Budget budget) = 0;
    // The processor at an interrupt stop, before apply(), for Delta.
    [[nodiscard]] virtual std::vector<std::byte> processor() = 0;
    // Instead of run(), where the interval ended with an interrupt stop elsewhere: the guest is at that stop, once
    // overwrite() was called for all that it wrote. Throws understudy::Error when this is no state of this machine.
    virtual std::optional<Stop> take_over(std::span<const std::byte> processor) = 0;
    // As WrittenPages took it. False: a page lies outside memory, or `content` are not so many pages.
    [[nodiscard]] virtual bool overwrite(std::span<const std::uint64_t> pages, std::span<const std::byte> content) = 0;
    // At a stop whose interval was copied: to how many of its pages the next write costs a fault; nothing where all
    // were copied that may hold something, because nobody knew what was written.
    [[nodiscard]] virtual std::optional<std::size_t> pages_tracked() const { return 0; }
    // At a stop, after apply(): every page that the guest or the monitor has written since the call before; the first
    // time all that may not be zero. Not of a machine that is run with Budget::written. Throws understudy::Error where
    // nobody can tell.
    virtual void take_written(WrittenPages& written);
    // What the guest said up to this stop; once.
    [[nodiscard]] virtual std::vector<Output> take_outputs() = 0;
    // At a stop, its outputs taken.
    [[nodiscard]] virtual Wants wants() = 0;
    // How many of `frames`, from the first on, apply() has room for. What is given beyond that is lost, as at a NIC.
    [[nodiscard]] virtual std::size_t room_for(std::span<const Frame> frames) = 0;
    // Of the frames that the guest says and hears.
    [[nodiscard]] virtual FrameFormat frame_format() const = 0;
    // Feeds the guest at `stop`, the one that run() just returned.
    virtual void apply(const Stop& stop, const Input& input) = 0;

    // The guest's clock at the last stop, with its input applied if it was: never less than what the guest has read.
    [[nodiscard]] virtual GuestTime clock() const = 0;
    [[nodiscard]] virtual InstructionCount count() const = 0;
    [[nodiscard]] virtual std::uint64_t registers_digest() const = 0;
    // Of the pages that there are of `pages`, with the extended registers.
    [[nodiscard]] virtual std::uint64_t memory_digest(PageRange pages) = 0;
    [[nodiscard]] virtual const FaultReport& fault_report() const = 0;
    [[nodiscard]] virtual std::string engine_name() const = 0;
    // At a stop. Nothing where nobody counts.
    [[nodiscard]] virtual ExitFigures exits() const { return {}; }

    [[nodiscard]] virtual NicAddresses nic_addresses() = 0;
    // What a host must have to take over this guest's state. The first time it may read all of the guest's disk.
    [[nodiscard]] virtual GuestShape shape() const = 0;
    [[nodiscard]] virtual Bytes memory_size() const { return shape().memory; }
    // State transfer, at a stop after apply().
    [[nodiscard]] virtual GuestMemory& memory() = 0;
    // All of it, zeroed: what a state that leaves zero pages out is written into.
    [[nodiscard]] virtual std::span<std::byte> blank_memory() = 0;
    // Whatever of the guest is not in memory: the vCPU, and what the monitor remembers of it.
    [[nodiscard]] virtual std::vector<std::byte> save_vcpu() = 0;
    // Throws understudy::Error when the state is not one of this machine, or memory holds no guest.
    virtual void restore_vcpu(std::span<const std::byte> state) = 0;

    // From any thread: ends the current interval soon, if its budget allows.
    virtual void kick(Kick how) = 0;
    // From any thread: run() returns nothing from now on.
    virtual void abandon() = 0;
};

}  // namespace understudy::machine
