#include "hypervisor/machine/small_machine.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "common/digest.hpp"
#include "hypervisor/machine/counter.hpp"
#include "hypervisor/machine/cpuid_table.hpp"
#include "hypervisor/machine/platform.hpp"
#include "hypervisor/machine/rings.hpp"
#include "hypervisor/machine/stops.hpp"

namespace understudy::machine {
namespace {

// Of a program's flags only DF is compared. The arithmetic flags may stem from a counted branch: then they depend on
// the raw counter cell, which a replica arms differently, and nothing uses them. IF, IOPL and RF differ between
// engines.
constexpr std::uint64_t kComparedFlags = x86::kFlagDirection;
constexpr std::uint64_t kOutLength = 2;
constexpr std::uint8_t kOutOpcode = 0xe7;

// A log may have less than the guest wants, or nothing.
void copy_answer(const Input& input, std::span<std::byte> to) {
    std::copy_n(input.answer.begin(), std::min(input.answer.size(), to.size()), to.begin());
}

std::uint64_t answer_word(const Input& input) {
    std::array<std::byte, sizeof(std::uint64_t)> bytes{};
    copy_answer(input, bytes);
    return std::bit_cast<std::uint64_t>(bytes);
}

std::optional<std::string> nearest_symbol(const std::optional<LoadedVm>& vm, std::uint64_t rip) {
    if (!vm) {
        return std::nullopt;
    }
    if (rip >= abi::kKernelBase && rip < abi::kKernelLimit) {
        return vm->kernel.describe(rip);
    }
    const std::uint64_t bias =
        vm->program.position_independent ? abi::kProgramBase - vm->program.lowest() / 4096 * 4096 : 0;
    return vm->program.describe(rip - bias);
}

// What a peer or a file says of a guest's memory is not known to be what load_vm() would have let through.
Bytes checked(Bytes memory) {
    if (memory.value % x86::kLargePageBytes != 0 || memory.value <= abi::kProgramBase || memory > kMaxMemory) {
        throw Error::format("a guest of the small kernel has no memory of {} bytes", memory.value);
    }
    return memory;
}

}  // namespace

SmallMachine::SmallMachine(const LoadedVm& vm, const EngineFactory& make_engine)
    : memory_(vm.config.memory, GuestMemory::Population::later),
      rewriter_(memory_, abandoned_),
      vm_(vm),
      engine_(make_engine(memory_.all(), write_boot_image(vm, memory_))) {
    memory_.populate_in_background();
}

SmallMachine::SmallMachine(Bytes memory, const EngineFactory& make_engine)
    : memory_(checked(memory), GuestMemory::Population::later),
      rewriter_(memory_, abandoned_),
      engine_(make_engine(memory_.all(), write_platform(memory_, {abi::kKernelBase}))) {}

void SmallMachine::abandon() {
    abandoned_ = true;
    engine_->kick();
}

// The cell turns negative at the count `until`: see abi::Control.
void SmallMachine::arm(InstructionCount until) {
    const std::uint64_t interval = until > count_ ? until.value - count_.value : 1;
    abi::Control& cell = control(memory_);
    cell.armed =
        static_cast<std::int64_t>(std::min<std::uint64_t>(interval, std::numeric_limits<std::int64_t>::max()) - 1);
    cell.cell = cell.armed;
}

// Brings a budget stop forward, between any two instructions: armed - cell stays what it is.
void SmallMachine::stop_at_next_count() {
    abi::Control& cell = control(memory_);
    if (cell.cell >= 0) {
        // Both are the guest's to overwrite: the difference may be anything, and wraps.
        cell.armed =
            static_cast<std::int64_t>(static_cast<std::uint64_t>(cell.armed) - static_cast<std::uint64_t>(cell.cell));
        cell.cell = 0;
    }
}

// At a stop: moves what the cell counted into count_ and the clock, and leaves the pair at zero, the same in every
// replica however the interval was armed. False: the guest has overwritten the cell; it counts as if it had not moved.
bool SmallMachine::read_counter() {
    abi::Control& cell = control(memory_);
    const auto counted = counted_since(count_, cell.armed, cell.cell);
    count_.value += counted.value_or(0);
    clock_at_stop_ = bounded_clock(cell.clock_ns + (counted.value_or(0) >> abi::kClockShift));
    cell.armed = 0;
    cell.cell = 0;
    monitor_state(memory_).instruction_count = count_.value;
    return counted.has_value();
}

std::optional<Stop> SmallMachine::run(Budget budget) {
    arm(budget.until);
    for (;;) {
        const engine::Exit exit = engine_->run();
        if (abandoned_) {
            return std::nullopt;
        }
        if (const auto* out = std::get_if<engine::PortOut>(&exit)) {
            return with_outputs(stopped_at(*out));
        }
        if (const auto* absent = std::get_if<engine::AbsentPort>(&exit)) {
            (void)read_counter();  // it has broken already
            return with_outputs(broken(fmt::format("it touched I/O port {:#x}", absent->port)));
        }
        if (const auto* reason = std::get_if<engine::Broken>(&exit)) {
            (void)read_counter();
            return with_outputs(broken(reason->reason));
        }
        if (budget.may_stop_sooner) {
            stop_at_next_count();
        }
    }
}

std::optional<Stop> SmallMachine::take_over(std::span<const std::byte> /*processor*/) {
    throw Error("the log copies an interval, which the small kernel's guests never have");
}

Stop SmallMachine::next_stop() {
    Stop stop;
    stop.number = {++monitor_state(memory_).stop_number};
    stop.count = count_;
    return stop;
}

Stop SmallMachine::broken(std::string reason) {
    Stop stop = next_stop();
    stop.kind = StopKind::fault;
    report_break(std::move(reason));
    return stop;
}

void SmallMachine::report_break(std::string reason) {
    fault_ = {};
    fault_.reason = std::move(reason);
    fault_.registers = engine_->registers();
    describe_place();
}

// A guest whose output rings make no sense has overwritten them: nothing that it says can be told from there on.
Stop SmallMachine::with_outputs(Stop stop) {
    if (auto outputs = machine::take_outputs(memory_)) {
        outputs_ = *std::move(outputs);
    } else if (stop.kind != StopKind::fault) {
        stop.kind = StopKind::fault;
        stop.request = RequestKind::none;
        stop.argument = 0;
        report_break("it overwrote its output rings");
    }
    stop_ = stop;
    return stop;
}

// Where it broke: what is at RIP, and the address of the last page fault.
void SmallMachine::describe_place() {
    fault_.address = engine_->fault_address();
    fault_.symbol = nearest_symbol(vm_, fault_.registers.rip);
    constexpr std::uint64_t kShownBytes = 16;
    if (const auto code = memory_.range({fault_.registers.rip}, kShownBytes)) {
        fault_.instruction_bytes.assign(code->begin(), code->end());
    }
}

Stop SmallMachine::stopped_at(engine::PortOut exit) {
    port_ = exit.port;
    if (!read_counter()) {
        return broken(std::string(kCounterOverwritten));
    }
    const auto meaning = meaning_of(exit.port);
    if (!meaning) {
        return broken(fmt::format("it did OUT to port {:#x}", exit.port));
    }
    Stop stop = next_stop();
    stop.kind = meaning->kind;
    stop.request = meaning->request;
    switch (meaning->kind) {
        case StopKind::idle:
            stop.argument = control(memory_).idle_deadline;
            break;
        case StopKind::exit:
            stop.argument = exit.value & 0xff;
            break;
        case StopKind::fault:
            report_fault(stop);
            break;
        default:
            break;
    }
    if (meaning->request == RequestKind::entropy) {
        stop.argument = std::min(exit.value, abi::kMaxEntropy);
    }
    return stop;
}

void SmallMachine::report_fault(Stop& stop) {
    fault_ = {};
    fault_.registers = engine_->registers();
    if (const auto frame = memory_.read<abi::FaultFrame>({control(memory_).fault_frame})) {
        fault_.vector = frame->vector;
        fault_.error_code = frame->error_code;
        fault_.registers.rip = frame->rip;
        fault_.registers.rflags = frame->rflags;
        fault_.registers.general[engine::kRsp] = frame->rsp;
    }
    stop.argument = fault_.vector;
    fault_.reason = exception_name(fault_.vector);
    describe_place();
}

Wants SmallMachine::wants() {
    Wants wants;
    wants.frames = receive_capacity(memory_);
    switch (stop_.request) {
        case RequestKind::rdrand:
        case RequestKind::rdseed:
            wants.random_bytes = sizeof(std::uint64_t);
            break;
        case RequestKind::entropy:
            wants.random_bytes = stop_.argument;
            break;
        default:
            break;
    }
    wants.to_run = stop_.kind != StopKind::idle;
    return wants;
}

std::size_t SmallMachine::room_for(std::span<const Frame> frames) {
    return std::min(frames.size(), receive_capacity(memory_));
}

void SmallMachine::apply(const Stop& stop, const Input& input) {
    control(memory_).clock_ns = static_cast<std::uint64_t>(input.clock.count());
    clock_at_stop_ = input.clock;
    push_frames(memory_, input.frames);
    if (stop.kind == StopKind::request) {
        answer(stop, input);
    }
}

void SmallMachine::answer(const Stop& stop, const Input& input) {
    if (stop.request == RequestKind::flush) {
        return;
    }
    if (stop.request == RequestKind::entropy) {
        copy_answer(input, std::as_writable_bytes(std::span(control(memory_).answer)));
        return;
    }
    if (stop.request == RequestKind::scan_code) {
        rewriter_.scan({control(memory_).scan_base, control(memory_).scan_size});
        return;
    }
    engine_->complete();
    if (stop.request == RequestKind::syscall_site) {
        rewrite_syscall_site();
        return;
    }
    engine::Registers registers = engine_->registers();
    auto& general = registers.general;
    switch (stop.request) {
        case RequestKind::rdtscp:
            general[engine::kRcx] = 0;
            [[fallthrough]];
        case RequestKind::rdtsc:
            // The guest's time-stamp counter runs at 1 GHz: it is the guest's clock.
            general[engine::kRax] = static_cast<std::uint64_t>(input.clock.count()) & 0xffffffff;
            general[engine::kRdx] = static_cast<std::uint64_t>(input.clock.count()) >> 32;
            break;
        case RequestKind::cpuid: {
            const CpuidResult result = cpuid(static_cast<std::uint32_t>(general[engine::kRax]),
                                             static_cast<std::uint32_t>(general[engine::kRcx]));
            general[engine::kRax] = result.eax;
            general[engine::kRbx] = result.ebx;
            general[engine::kRcx] = result.ecx;
            general[engine::kRdx] = result.edx;
            break;
        }
        case RequestKind::xgetbv:
            general[engine::kRax] = kXcr0;
            general[engine::kRdx] = 0;
            break;
        case RequestKind::rdrand:
        case RequestKind::rdseed:
            write_register(registers, destination_of(port_).value(), answer_word(input));
            registers.rflags = (registers.rflags & ~x86::kArithmeticFlags) | x86::kFlagCarry;
            break;
        case RequestKind::rdpid:
            write_register(registers, destination_of(port_).value(), 0);
            break;
        default:
            break;
    }
    engine_->set_registers(registers);
}

// The vCPU stands in the ring-0 stub behind a SYSCALL: RCX is the address behind it, R11 the program's flags.
void SmallMachine::rewrite_syscall_site() {
    engine::Registers registers = engine_->registers();
    const std::uint64_t entry = control(memory_).syscall_entry;
    constexpr std::uint64_t kSyscallLength = 2;
    std::uint64_t& return_address = registers.general[engine::kRcx];
    return_address =
        rewriter_.rewrite_site({return_address - kSyscallLength}, entry, monitor_state(memory_).trampoline_used)
            .value_or(return_address);
    registers.rip = entry;
    registers.rflags = registers.general[engine::kR11];
    engine_->enter_ring3(registers);
}

std::uint64_t SmallMachine::registers_digest() const {
    engine::Registers registers = engine_->registers();
    registers.rflags &= kComparedFlags;
    if (port_ == abi::kPortSyscall) {
        registers.general[engine::kR11] &= kComparedFlags;  // SYSCALL has put the flags here
    }
    // While an OUT is pending some engines report RIP before it, some behind.
    const auto code = memory_.range({registers.rip}, kOutLength);
    if (code && (*code)[0] == std::byte{kOutOpcode} && (*code)[1] == std::byte{port_}) {
        registers.rip += kOutLength;
    }
    return digest(std::as_bytes(std::span(&registers, 1)));
}

std::uint64_t SmallMachine::memory_digest(PageRange pages) {
    return digest(memory_.pages(pages), engine_->extended_state_digest());
}

NicAddresses SmallMachine::nic_addresses() {
    const auto boot = memory_.read<abi::Boot>({abi::kBootBase});
    NicAddresses nic;
    if (boot) {
        std::copy(std::begin(boot->mac), std::end(boot->mac), nic.mac.begin());
        nic.ipv4 = boot->ipv4_address;
    }
    return nic;
}

std::span<std::byte> SmallMachine::blank_memory() {
    memory_.clear();
    memory_.populate_in_background();
    return memory_.all();
}

std::vector<std::byte> SmallMachine::save_vcpu() {
    return engine_->save();
}

void SmallMachine::restore_vcpu(std::span<const std::byte> state) {
    const MonitorState& monitor = monitor_state(memory_);
    for (const abi::Region& ring : {monitor.receive_ring, monitor.transmit_ring, monitor.console_ring}) {
        // A ring holds whole frame slots, the console's too: fewer bytes than one would leave no slot to count by.
        if (ring.size == 0 || ring.size % abi::kFrameSlotSize != 0 || !memory_.range({ring.base}, ring.size)) {
            throw Error("the received memory holds no guest: its rings are not where a guest has them");
        }
    }
    if (monitor.trampoline_used > abi::kTrampolineLimit - abi::kTrampolineBase) {
        throw Error("the received memory holds no guest: its trampolines are not where a guest has them");
    }
    count_ = {monitor.instruction_count};
    clock_at_stop_ = bounded_clock(control(memory_).clock_ns);
    engine_->restore(state);
}

}  // namespace understudy::machine
