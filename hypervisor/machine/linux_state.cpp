// Of a Linux guest: what replicas compare of it, what describes it, and its state beside memory, which travels.
#include <span>
#include <string>
#include <vector>

#include "common/digest.hpp"
#include "common/file_digest.hpp"
#include "hypervisor/machine/boot_copy.hpp"
#include "hypervisor/machine/counter.hpp"
#include "hypervisor/machine/linux_machine.hpp"

namespace understudy::machine {
namespace {

// Of the flags only DF is compared. The arithmetic flags may stem from a counted branch: then they depend on the raw
// counter cell, which a replica arms differently, and nothing uses them. IF, IOPL and RF differ between engines.
constexpr std::uint64_t kComparedFlags = x86::kFlagDirection;
constexpr std::uint64_t kOutLength = 2;
constexpr std::byte kOutOpcode{0xe7};
constexpr std::uint32_t kStateVersion = 2;
constexpr std::size_t kMaxEngineState = 64U << 10;

}  // namespace

std::uint64_t LinuxMachine::registers_digest() const {
    engine::Registers registers = engine_->registers();
    registers.rflags &= kComparedFlags;
    // While an OUT is pending some engines report RIP before it, some behind. Stops are in the layer alone.
    const std::uint64_t offset = registers.rip - UNDERSTUDY_LAYER_ADDRESS;
    const auto code =
        offset < UNDERSTUDY_LAYER_BYTES ? memory_.range({places_.ram + offset}, kOutLength) : std::nullopt;
    if (code && (*code)[0] == kOutOpcode && (*code)[1] == std::byte{port_}) {
        registers.rip += kOutLength;
    }
    return digest(std::as_bytes(std::span(&registers, 1)));
}

std::uint64_t LinuxMachine::memory_digest(PageRange pages) {
    return digest(memory_.pages(pages), engine_->extended_state_digest());
}

GuestShape LinuxMachine::shape() const {
    std::call_once(digested_, [&] {
        if (image_digest_.empty() && !image_.empty()) {
            image_digest_ = digest_file(image_).text();
        }
    });
    return {GuestKind::linux_guest, memory_.size(), image_digest_};
}

std::span<std::byte> LinuxMachine::blank_memory() {
    memory_.clear();
    return memory_.all();
}

void LinuxMachine::keep_restart(const LoadedLinux& linux) {
    restart_.on_reboot = linux.config.restarts_on_reboot;
    restart_.on_crash = linux.config.restarts_on_crash;
    if (restart_.on_reboot || restart_.on_crash) {
        restart_.boot_copy = keep_boot_copy(memory_, whole_memory({places_.ram}).value);
        restart_.vcpu = engine_->save();
    }
}

void LinuxMachine::save_restart(Encoder& encoder) const {
    encoder.flag(restart_.on_reboot).flag(restart_.on_crash).u64(restart_.boot_copy).bytes(as_text(restart_.vcpu));
}

void LinuxMachine::restore_restart(Decoder& decoder) {
    restart_.on_reboot = decoder.flag();
    restart_.on_crash = decoder.flag();
    restart_.boot_copy = decoder.u64();
    const auto vcpu = as_bytes(decoder.bytes(kMaxEngineState));
    restart_.vcpu.assign(vcpu.begin(), vcpu.end());
}

std::vector<std::byte> LinuxMachine::save_vcpu() {
    std::string out;
    Encoder encoder(out);
    encoder.u32(kStateVersion).u64(places_.ram).u64(places_.control).u64(count_.value).u64(stop_number_);
    const NicAddresses nic = nic_.value_or(NicAddresses{});
    encoder.flag(nic_.has_value());
    for (const std::uint8_t byte : nic.mac) {
        encoder.u8(byte);
    }
    encoder.u32(nic.ipv4);
    bus_.save(encoder);
    save_restart(encoder);
    encoder.bytes(as_text(engine_->save()));
    const auto bytes = as_bytes(out);
    return {bytes.begin(), bytes.end()};
}

void LinuxMachine::restore_vcpu(std::span<const std::byte> state) {
    Decoder decoder(as_text(state));
    const std::uint32_t version = decoder.u32();
    places_ = {decoder.u64(), decoder.u64()};
    const bool fits = decoder.ok() && version == kStateVersion && places_.ram % x86::kLargePageBytes == 0 &&
                      places_.ram < memory_.size().value && whole_memory({places_.ram}) <= memory_.size() &&
                      memory_.range({places_.control}, x86::kPageBytes) && places_.control % x86::kPageBytes == 0;
    if (!fits) {
        throw Error("the received state is not one of a Linux guest of this version");
    }
    count_ = {decoder.u64()};
    stop_number_ = decoder.u64();
    const bool has_network = decoder.flag();
    NicAddresses nic;
    for (std::uint8_t& byte : nic.mac) {
        byte = decoder.u8();
    }
    nic.ipv4 = decoder.u32();
    nic_ = has_network ? std::optional(nic) : std::nullopt;
    add_devices();
    if (!bus_.restore(decoder)) {
        throw Error("the received state is of a guest with other devices: give this host the same image and network");
    }
    restore_restart(decoder);
    const auto engine_state = as_bytes(decoder.bytes(kMaxEngineState));
    if (!decoder.finished()) {
        throw Error("the received state is not one of a Linux guest of this version");
    }
    clock_at_stop_ = bounded_clock(control().clock_ns);
    if (restart_.on_reboot || restart_.on_crash) {
        engine_->restore(restart_.vcpu);  // what is wrong with it is said now, and not when the guest restarts
    }
    engine_->restore(engine_state);
}

}  // namespace understudy::machine
