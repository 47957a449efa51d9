#include "hypervisor/machine/linux_machine.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "hypervisor/device/balloon_device.hpp"
#include "hypervisor/device/block_device.hpp"
#include "hypervisor/device/console_device.hpp"
#include "hypervisor/device/entropy_device.hpp"
#include "hypervisor/machine/boot_copy.hpp"
#include "hypervisor/machine/counter.hpp"
#include "hypervisor/machine/stops.hpp"

namespace understudy::machine {
namespace {

constexpr std::size_t kConsoleTail = 2000;

std::string_view fault_name(std::uint32_t why) {
    switch (why) {
        case UNDERSTUDY_FAULT_IN_LAYER:
            return "the kernel gave its paravirtual layer a bad pointer or stack, or overwrote it";
        case UNDERSTUDY_FAULT_NO_HANDLER:
            return "an exception for which the kernel had no handler yet";
        case UNDERSTUDY_FAULT_HYPERCALL:
            return "a hypercall that this layer does not offer";
        default:
            return "its paravirtual layer could not go on";
    }
}

Bytes memory_of(const LoadedLinux& linux) {
    const bool restarts = linux.config.restarts_on_reboot || linux.config.restarts_on_crash;
    return {whole_memory(linux.config.memory).value + (restarts ? boot_copy_bytes(linux).value : 0)};
}

}  // namespace

LinuxMachine::LinuxMachine(const LoadedLinux& linux, const EngineFactory& make_engine)
    : memory_(memory_of(linux), GuestMemory::Population::later),
      places_(places_of(linux)),
      linux_(linux),
      image_(linux.config.image),
      make_engine_(make_engine),
      engine_(make_engine(memory_.all(), write_linux_image(linux, memory_))),
      bus_(memory_, [this](std::size_t number) -> understudy_device& { return device_page(number); }) {
    if (linux.config.has_network) {
        nic_ = {linux.config.network.mac, linux.config.network.address};
    }
    add_devices();
    bus_.boot();
    keep_restart(linux);
}

LinuxMachine::LinuxMachine(const GuestShape& shape, std::string image, const EngineFactory& make_engine)
    : memory_(shape.memory, GuestMemory::Population::later),
      image_(std::move(image)),
      image_digest_(shape.image_digest),
      make_engine_(make_engine),
      engine_(make_engine(memory_.all(), linux_boot_state({}))),
      bus_(memory_, [this](std::size_t number) -> understudy_device& { return device_page(number); }) {}

LinuxMachine::~LinuxMachine() = default;

void LinuxMachine::add_devices() {
    devices_.console = bus_.add(std::make_unique<device::ConsoleDevice>());
    devices_.entropy = bus_.add(std::make_unique<device::EntropyDevice>());
    if (nic_) {
        devices_.net = bus_.add(std::make_unique<device::NetDevice>(nic_->mac));
    }
    if (!image_.empty()) {
        bus_.add(std::make_unique<device::BlockDevice>(image_));
    }
    bus_.add(std::make_unique<device::BalloonDevice>(memory_));
}

const understudy_layer& LinuxMachine::layer() const {
    return *reinterpret_cast<const understudy_layer*>(memory_.range({places_.ram}, sizeof(understudy_layer))->data());
}

understudy_device& LinuxMachine::device_page(std::size_t number) {
    return memory_.at<understudy_device>({places_.ram + UNDERSTUDY_DEVICES_OFFSET + number * x86::kPageBytes});
}

void LinuxMachine::abandon() {
    abandoned_ = true;
    kick(Kick::at_next_count);
}

// --- The counter
// ------------------------------------------------------------------------------------------------------

// The cell turns negative at the count `until`: see understudy_control.
void LinuxMachine::arm(InstructionCount until) {
    const std::uint64_t interval = until > count_ ? until.value - count_.value : 1;
    understudy_control& page = control();
    page.armed =
        static_cast<std::int64_t>(std::min<std::uint64_t>(interval, std::numeric_limits<std::int64_t>::max()) - 1);
    page.cell = page.armed;
}

// Brings a budget stop forward, between any two instructions: armed - cell stays what it is.
void LinuxMachine::stop_at_next_count() {
    understudy_control& page = control();
    if (page.cell >= 0) {
        // Both are the guest's to overwrite: the difference may be anything, and wraps.
        page.armed =
            static_cast<std::int64_t>(static_cast<std::uint64_t>(page.armed) - static_cast<std::uint64_t>(page.cell));
        page.cell = 0;
    }
}

// At a stop: moves what the cell counted into count_ and the clock, and leaves the pair at zero, the same in every
// replica however the interval was armed. False: the guest has overwritten the cell; it counts as if it had not moved.
bool LinuxMachine::read_counter() {
    understudy_control& page = control();
    const auto counted = counted_since(count_, page.armed, page.cell);
    count_.value += counted.value_or(0);
    clock_at_stop_ = bounded_clock(page.clock_ns + (counted.value_or(0) >> UNDERSTUDY_CLOCK_SHIFT));
    page.armed = 0;
    page.cell = 0;
    return counted.has_value();
}

// --- From stop to stop
// --------------------------------------------------------------------------------------------------

std::optional<Stop> LinuxMachine::run(Budget budget) {
    if (std::exchange(forget_translations_, false)) {
        engine_->forget_translations();
    }
    track_writes(budget);
    arm(budget.until);
    for (;;) {
        const engine::Exit exit = engine_->run();
        if (abandoned_) {
            return std::nullopt;
        }
        if (std::holds_alternative<engine::AbsentPort>(exit)) {
            continue;
        }
        if (const auto* out = std::get_if<engine::PortOut>(&exit)) {
            // Ports are the layer's. A program's OUT meets nothing.
            if (in_layer(engine_->registers().rip)) {
                ++exits_by_port_[out->port];
                if (!serve(*out)) {
                    return interrupted_at_ ? interrupted(budget) : stopped_at(*out);
                }
            }
        } else if (const auto* reason = std::get_if<engine::Broken>(&exit)) {
            if (interrupted_at_) {
                return interrupted(budget);
            }
            (void)read_counter();  // it has broken already
            return broken(reason->reason);
        } else {
            ++kicks_;
            kicked(budget);
        }
    }
}

ExitFigures LinuxMachine::exits() const {
    static constexpr std::array<std::pair<std::uint8_t, std::string_view>, 7> kPorts = {{
        {UNDERSTUDY_PORT_IDLE, "idle"},
        {UNDERSTUDY_PORT_BUDGET, "budget"},
        {UNDERSTUDY_PORT_DEVICE, "device"},
        {UNDERSTUDY_PORT_FLUSH, "flush"},
        {UNDERSTUDY_PORT_PAGE_TABLE, "page_table"},
        {UNDERSTUDY_PORT_FLUSH_TLB, "flush_tlb"},
        {UNDERSTUDY_PORT_FAULT_ADDRESS, "fault_address"},
    }};
    ExitFigures result;
    for (const auto& [port, kind] : kPorts) {
        const auto found = exits_by_port_.find(port);
        result.figures.push_back({kind, found == exits_by_port_.end() ? 0 : found->second});
    }
    result.figures.push_back({"kick", kicks_});
    // The guest's own words.
    result.figures.push_back({"page_fault", layer().page_faults});
    result.figures.push_back({"system_call", layer().system_calls});
    result.figures.push_back({"hypercall", layer().hypercalls});
    result.figures.push_back({"emulated", layer().emulated});
    return result;
}

// Services of the processor: no stops.
bool LinuxMachine::serve(engine::PortOut exit) {
    switch (exit.port) {
        case UNDERSTUDY_PORT_PAGE_TABLE:
            engine_->set_page_table(std::uint64_t{exit.value} * x86::kPageBytes);
            return true;
        case UNDERSTUDY_PORT_FLUSH_TLB:
            engine_->flush_tlb();
            return true;
        case UNDERSTUDY_PORT_FAULT_ADDRESS:
            layer().fault_address = engine_->fault_address();
            return true;
        case UNDERSTUDY_PORT_INTERRUPT:
            return !interrupted_at_;  // a program that enters the layer by this vector finds nothing
        default:
            return false;
    }
}

// What exceptions left on their stack differs between replicas: flags behind a counted branch, frames of faults that
// only one of them met. At a stop there is nothing live on it, but where the guest ends with one, or was interrupted.
void LinuxMachine::clear_exception_stack() {
    const std::uint64_t end = layer().exception_stack - UNDERSTUDY_LAYER_ADDRESS;
    if (end >= UNDERSTUDY_EXCEPTION_STACK_BYTES && end <= UNDERSTUDY_LAYER_BYTES) {
        const auto stack =
            memory_.range({places_.ram + end - UNDERSTUDY_EXCEPTION_STACK_BYTES}, UNDERSTUDY_EXCEPTION_STACK_BYTES);
        memory_.wrote(*stack);
        std::ranges::fill(*stack, std::byte{0});
    }
}

Stop LinuxMachine::next_stop(StopKind kind) {
    if (kind != StopKind::fault && kind != StopKind::interrupt) {
        clear_exception_stack();
    }
    Stop stop;
    stop.number = {++stop_number_};
    stop.count = count_;
    stop.kind = kind;
    return stop;
}

Stop LinuxMachine::stopped_at(engine::PortOut exit) {
    port_ = exit.port;
    // Where the monitor ended the interval the guest is taken over as it is; it meets the consequences by itself.
    if (!read_counter() && exit.port != UNDERSTUDY_PORT_INTERRUPT) {
        return broken(std::string(kCounterOverwritten));
    }
    switch (exit.port) {
        case UNDERSTUDY_PORT_IDLE: {
            Stop stop = next_stop(StopKind::idle);
            stop.argument = layer().idle_deadline;
            collect(stop);
            return stop;
        }
        case UNDERSTUDY_PORT_BUDGET: {
            Stop stop = next_stop(StopKind::budget);
            collect(stop);
            return stop;
        }
        case UNDERSTUDY_PORT_INTERRUPT: {
            interrupted_at_.reset();
            Stop stop = next_stop(StopKind::interrupt);
            collect(stop);
            return stop;
        }
        case UNDERSTUDY_PORT_EXIT:
            return ended(exit.value);
        case UNDERSTUDY_PORT_DEVICE: {
            Stop stop = next_stop(StopKind::request);
            stop.request = RequestKind::device;
            stop.argument = exit.value % UNDERSTUDY_DEVICES;
            bus_.changed(static_cast<std::uint32_t>(stop.argument));
            collect(stop);
            return stop;
        }
        case UNDERSTUDY_PORT_FLUSH: {
            Stop stop = next_stop(StopKind::request);
            stop.request = RequestKind::flush;
            collect(stop);
            return stop;
        }
        case UNDERSTUDY_PORT_FAULT: {
            Stop stop = next_stop(StopKind::fault);
            report_fault(exit.value);
            stop.argument = fault_.vector;
            collect(stop);
            return stop;
        }
        default:
            return broken(fmt::format("it did OUT to port {:#x}", exit.port));
    }
}

Stop LinuxMachine::ended(std::uint32_t value) {
    const std::uint32_t reason = value >> 8U & 0xffU;
    if (restarts(reason)) {
        return restarted();
    }
    if (reason == UNDERSTUDY_EXIT_CRASH) {
        const Stop stop = broken("its kernel panicked");
        fault_.has_state = false;
        return stop;
    }
    Stop stop = next_stop(StopKind::exit);
    stop.argument = reason == UNDERSTUDY_EXIT_REBOOT ? kExitReboot : value & 0xffU;
    collect(stop);
    return stop;
}

bool LinuxMachine::restarts(std::uint32_t reason) const {
    return (reason == UNDERSTUDY_EXIT_REBOOT && restart_.on_reboot) ||
           (reason == UNDERSTUDY_EXIT_CRASH && restart_.on_crash);
}

// The guest has said its last words, and stands before its first instruction again. A new engine, because one that
// keeps translations of the guest's page tables does not see that others took their place.
Stop LinuxMachine::restarted() {
    Stop stop = next_stop(StopKind::request);
    stop.request = RequestKind::restart;
    collect(stop);
    if (stop.kind == StopKind::fault) {
        return stop;
    }
    if (!restore_boot_copy(memory_, whole_memory({places_.ram}).value, restart_.boot_copy)) {
        stop.kind = StopKind::fault;
        stop.request = RequestKind::none;
        fault_ = {};
        fault_.reason = "it overwrote what it was to be restarted from";
        fault_.has_state = false;
        return stop;
    }
    {
        const std::lock_guard lock(engine_changes_);
        engine_.reset();
        engine_ = make_engine_(memory_.all(), linux_boot_state({}));
        engine_->restore(restart_.vcpu);
        engine_->kick();  // the one before may have had one
    }
    memory_.wrote(memory_.all());
    tracks_writes_ = false;
    forget_translations_ = false;
    bus_.boot();
    events_ = 0;
    port_ = 0;
    return stop;
}

// Everything that the guest has put out up to here.
void LinuxMachine::collect(Stop& stop) {
    // Where a program was interrupted, the layer is not looked at: the next stop finds what is wrong with it.
    const bool looks = stop.kind != StopKind::fault && stop.kind != StopKind::interrupt;
    if (!take_early_console() && looks) {
        stop = Stop{stop.number, StopKind::fault, RequestKind::none, stop.count, 0};
        fault_ = {};
        fault_.reason = "it overwrote its paravirtual layer";
        fault_.registers = engine_->registers();
        return;
    }
    bus_.collect(outputs_);
    events_ |= bus_.take_events();
    for (const Output& output : outputs_) {
        if (output.kind == Output::Kind::console) {
            console_tail_.append(as_text(output.bytes));
        }
    }
    if (console_tail_.size() > 2 * kConsoleTail) {
        console_tail_.erase(0, console_tail_.size() - kConsoleTail);
    }
}

// Text from before the kernel has a console. False: the ring's indices make no sense.
bool LinuxMachine::take_early_console() {
    understudy_ring& ring = layer().console;
    const std::uint64_t used = ring.produced - ring.consumed;
    if (used > UNDERSTUDY_CONSOLE_BYTES) {
        return false;
    }
    if (used == 0) {
        return true;
    }
    Output text{Output::Kind::console, std::vector<std::byte>(used)};
    const auto source = *memory_.range({places_.ram + UNDERSTUDY_CONSOLE_OFFSET}, UNDERSTUDY_CONSOLE_BYTES);
    for (std::uint64_t i = 0; i < used; ++i) {
        text.bytes[i] = source[(ring.consumed + i) % UNDERSTUDY_CONSOLE_BYTES];
    }
    ring.consumed = ring.produced;
    outputs_.push_back(std::move(text));
    return true;
}

Wants LinuxMachine::wants() {
    Wants wants;
    if (devices_.net) {
        if (const auto queues = bus_.queues(*devices_.net); !queues.empty()) {
            wants.frames = device::NetDevice::receive_buffers(queues);
        }
    }
    if (const auto queues = bus_.queues(devices_.console); !queues.empty()) {
        wants.console_bytes = device::ConsoleDevice::room(queues);
    }
    if (const auto queues = bus_.queues(devices_.entropy); !queues.empty()) {
        wants.random_bytes = device::EntropyDevice::wanted(queues);
    }
    wants.to_run = events_ != 0 || bus_.unfinished();
    return wants;
}

const device::NetDevice& LinuxMachine::nic() const {
    return static_cast<const device::NetDevice&>(bus_.device(*devices_.net));
}

std::size_t LinuxMachine::room_for(std::span<const Frame> frames) {
    if (!devices_.net) {
        return 0;
    }
    const auto queues = bus_.queues(*devices_.net);
    return queues.empty() ? 0 : nic().room_for(queues, frames);
}

void LinuxMachine::apply(const Stop& /*stop*/, const Input& input) {
    control().clock_ns = static_cast<std::uint64_t>(input.clock.count());
    clock_at_stop_ = input.clock;
    if (devices_.net) {
        if (const auto queues = bus_.queues(*devices_.net); !queues.empty()) {
            nic().receive(queues, input.frames);
        }
    }
    if (const auto queues = bus_.queues(devices_.console); !queues.empty()) {
        device::ConsoleDevice::receive(queues, input.typed);
    }
    if (const auto queues = bus_.queues(devices_.entropy); !queues.empty()) {
        device::EntropyDevice::receive(queues, input.answer);
    }
    events_ |= bus_.take_events();
    layer().events |= std::exchange(events_, 0);
}

// --- Faults
// -----------------------------------------------------------------------------------------------------------

std::optional<std::string> LinuxMachine::symbol_at(std::uint64_t address) const {
    if (!linux_) {
        return std::nullopt;
    }
    if (auto name = linux_->kernel.describe(address)) {
        return name;
    }
    return linux_->layer.describe(address);
}

Stop LinuxMachine::broken(std::string reason) {
    Stop stop = next_stop(StopKind::fault);
    collect(stop);
    fault_ = {};
    fault_.reason = std::move(reason);
    fault_.registers = engine_->registers();
    fault_.address = engine_->fault_address();
    fault_.symbol = symbol_at(fault_.registers.rip);
    fault_.last_words = console_tail_;
    return stop;
}

void LinuxMachine::report_fault(std::uint32_t why) {
    fault_ = {};
    fault_.reason = fault_name(why);
    fault_.registers = engine_->registers();
    fault_.last_words = console_tail_;
    const std::uint64_t frame_offset = layer().fault_frame - UNDERSTUDY_LAYER_ADDRESS;
    const auto frame = frame_offset < UNDERSTUDY_LAYER_BYTES
                           ? memory_.read<understudy_frame>({places_.ram + frame_offset})
                           : std::nullopt;
    if (!frame) {
        return;
    }
    fault_.vector = frame->vector & 0xff;
    fault_.error_code = frame->error_code;
    fault_.address = engine_->fault_address();
    fault_.registers.general = {frame->rax, frame->rcx, frame->rdx, frame->rbx, frame->rsp, frame->rbp,
                                frame->rsi, frame->rdi, frame->r8,  frame->r9,  frame->r10, frame->r11,
                                frame->r12, frame->r13, frame->r14, frame->r15};
    fault_.registers.rip = frame->rip;
    fault_.registers.rflags = frame->rflags;
    fault_.symbol = symbol_at(frame->rip);
    fault_.reason += fmt::format(" ({})", exception_name(fault_.vector));
}

}  // namespace understudy::machine
