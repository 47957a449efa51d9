// The machine of a Linux guest: the kernel of guest/linux on the paravirtual layer of guest/pv, wholly in ring 3, with
// virtio devices.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hypervisor/device/device_bus.hpp"
#include "hypervisor/device/net_device.hpp"
#include "hypervisor/machine/linux_image.hpp"
#include "hypervisor/machine/machine.hpp"
#include "hypervisor/machine/writable_pages.hpp"
#include "hypervisor/machine/write_tracking.hpp"

namespace understudy::machine {

class LinuxMachine final : public Machine {
  public:
    // A machine before its first instruction. Throws understudy::Error (memory, engine, image).
    LinuxMachine(const LoadedLinux& linux, const EngineFactory& make_engine);
    // A machine whose state arrives from elsewhere: fill memory(), then restore_vcpu(). `image` is this host's
    // copy of the guest's disk, or empty.
    LinuxMachine(const GuestShape& shape, std::string image, const EngineFactory& make_engine);
    ~LinuxMachine() override;

    std::optional<Stop> run(Budget budget) override;
    [[nodiscard]] std::vector<std::byte> processor() override { return engine_->save(); }
    std::optional<Stop> take_over(std::span<const std::byte> processor) override;
    [[nodiscard]] bool overwrite(std::span<const std::uint64_t> pages, std::span<const std::byte> content) override;
    [[nodiscard]] std::optional<std::size_t> pages_tracked() const override { return pages_tracked_; }
    void take_written(WrittenPages& written) override;
    [[nodiscard]] std::vector<Output> take_outputs() override { return std::exchange(outputs_, {}); }
    [[nodiscard]] Wants wants() override;
    [[nodiscard]] std::size_t room_for(std::span<const Frame> frames) override;
    [[nodiscard]] FrameFormat frame_format() const override { return FrameFormat::with_offload_header; }
    void apply(const Stop& stop, const Input& input) override;
    [[nodiscard]] GuestTime clock() const override { return clock_at_stop_; }
    [[nodiscard]] InstructionCount count() const override { return count_; }
    [[nodiscard]] std::uint64_t registers_digest() const override;
    [[nodiscard]] std::uint64_t memory_digest(PageRange pages) override;
    [[nodiscard]] const FaultReport& fault_report() const override { return fault_; }
    [[nodiscard]] std::string engine_name() const override { return engine_->name(); }
    [[nodiscard]] ExitFigures exits() const override;
    [[nodiscard]] NicAddresses nic_addresses() override { return nic_.value_or(NicAddresses{}); }
    [[nodiscard]] GuestShape shape() const override;
    [[nodiscard]] Bytes memory_size() const override { return memory_.size(); }
    [[nodiscard]] GuestMemory& memory() override { return memory_; }
    [[nodiscard]] std::span<std::byte> blank_memory() override;
    [[nodiscard]] std::vector<std::byte> save_vcpu() override;
    void restore_vcpu(std::span<const std::byte> state) override;
    void kick(Kick how) override;
    void abandon() override;

  private:
    struct DeviceNumbers {
        std::optional<std::size_t> net;
        std::size_t console = 0;
        std::size_t entropy = 0;
    };

    [[nodiscard]] understudy_layer& layer() { return memory_.at<understudy_layer>({places_.ram}); }
    [[nodiscard]] const understudy_layer& layer() const;
    [[nodiscard]] static bool in_layer(std::uint64_t address) {
        return address - UNDERSTUDY_LAYER_ADDRESS < UNDERSTUDY_LAYER_BYTES;
    }
    [[nodiscard]] understudy_control& control() { return memory_.at<understudy_control>({places_.control}); }
    [[nodiscard]] understudy_device& device_page(std::size_t number);
    void add_devices();
    [[nodiscard]] const device::NetDevice& nic() const;

    void arm(InstructionCount until);
    void stop_at_next_count();
    [[nodiscard]] bool read_counter();
    void clear_exception_stack();
    [[nodiscard]] bool serve(engine::PortOut exit);
    // linux_interrupt.cpp
    void kicked(const Budget& budget);
    void interrupt();
    Stop interrupted(const Budget& budget);
    // linux_writes.cpp
    void track_writes(const Budget& budget);
    void copy_written(const Budget& budget);
    void copy_all(WrittenPages& written);
    [[nodiscard]] bool may_interrupt(const Budget& budget);
    void copy(std::span<const std::uint64_t> pages, WrittenPages& written);
    Stop next_stop(StopKind kind);
    Stop stopped_at(engine::PortOut exit);
    Stop ended(std::uint32_t value);
    [[nodiscard]] bool restarts(std::uint32_t reason) const;
    Stop restarted();
    Stop broken(std::string reason);
    void report_fault(std::uint32_t why);
    [[nodiscard]] std::optional<std::string> symbol_at(std::uint64_t address) const;
    void collect(Stop& stop);
    [[nodiscard]] bool take_early_console();

    // How a guest starts again; without one it does not.
    struct Restart {
        bool on_reboot = false;
        bool on_crash = false;
        std::uint64_t boot_copy = 0;  // its digest; it lies behind all else
        std::vector<std::byte> vcpu;  // before the first instruction
    };
    // linux_state.cpp
    void keep_restart(const LoadedLinux& linux);
    void save_restart(Encoder& encoder) const;
    void restore_restart(Decoder& decoder);

    GuestMemory memory_;
    LinuxPlaces places_;
    std::optional<LoadedLinux> linux_;  // its symbols, where this machine booted
    std::string image_;                 // the guest's disk; empty: none
    mutable std::once_flag digested_;
    mutable std::string image_digest_;  // empty before somebody asks
    std::optional<NicAddresses> nic_;
    EngineFactory make_engine_;
    std::mutex engine_changes_;  // a restarted guest has another one; kick() is called from other threads
    std::unique_ptr<engine::Engine> engine_;
    Restart restart_;
    device::DeviceBus bus_;
    DeviceNumbers devices_;
    InstructionCount count_;
    std::uint64_t stop_number_ = 0;
    GuestTime clock_at_stop_{0};
    std::uint64_t events_ = 0;  // raised at this stop
    std::uint8_t port_ = 0;     // of the current stop
    std::atomic<bool> kicked_anywhere_{false};
    std::optional<std::size_t> pages_tracked_ = 0;  // behind the last interval that was copied
    // Where the monitor has left the frame of an interrupt; the stop is still to come.
    std::optional<GuestAddress> interrupted_at_;
    WriteTracking write_tracking_;
    WritablePages writable_pages_;
    bool tracks_writes_ = false;
    bool cannot_track_ = false;         // this host
    unsigned kicks_passed_ = 0;         // in this interval, in programs, because writes are not tracked
    bool notes_all_writes_ = false;     // somebody calls take_written()
    bool forget_translations_ = false;  // before the guest runs
    std::vector<Output> outputs_;
    std::string console_tail_;  // the last text, for reports
    FaultReport fault_;
    std::map<std::uint8_t, std::uint64_t> exits_by_port_;
    std::uint64_t kicks_ = 0;  // that found the guest running
    std::atomic<bool> abandoned_{false};
};

}  // namespace understudy::machine
