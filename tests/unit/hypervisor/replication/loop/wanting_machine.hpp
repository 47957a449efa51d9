#pragma once

#include <algorithm>
#include <deque>
#include <limits>
#include <utility>
#include <vector>

#include "hypervisor/machine/machine.hpp"

namespace understudy::replication {

// A machine without a guest: it comes to the stops that it is told, and wants what it is told to.
class WantingMachine : public machine::Machine {
  public:
    machine::Wants wanted{.frames = 256, .console_bytes = 0, .random_bytes = 0, .to_run = true};
    std::size_t room = std::numeric_limits<std::size_t>::max();

    std::deque<Stop> stops;  // that it comes to; none: it is abandoned
    std::vector<Output> outputs;

    std::optional<Stop> run(machine::Budget /*budget*/) override {
        if (stops.empty()) {
            return std::nullopt;
        }
        const Stop stop = stops.front();
        stops.pop_front();
        return stop;
    }
    std::vector<std::byte> processor() override { return {}; }
    std::optional<Stop> take_over(std::span<const std::byte> /*processor*/) override { return std::nullopt; }
    bool overwrite(std::span<const std::uint64_t> /*pages*/, std::span<const std::byte> /*content*/) override {
        return false;
    }
    std::vector<Output> take_outputs() override { return std::exchange(outputs, {}); }
    machine::Wants wants() override { return wanted; }
    std::size_t room_for(std::span<const Frame> frames) override {
        std::size_t left = room;
        const auto full = std::ranges::find_if(frames, [&](const Frame& frame) {
            const bool fits = frame.size() <= left;
            left -= fits ? frame.size() : 0;
            return !fits;
        });
        return static_cast<std::size_t>(full - frames.begin());
    }
    [[nodiscard]] FrameFormat frame_format() const override { return FrameFormat::with_offload_header; }
    void apply(const Stop& /*stop*/, const Input& /*input*/) override {}
    [[nodiscard]] GuestTime clock() const override { return GuestTime{0}; }
    [[nodiscard]] InstructionCount count() const override { return {}; }
    [[nodiscard]] std::uint64_t registers_digest() const override { return 0; }
    std::uint64_t memory_digest(PageRange /*pages*/) override { return 0; }
    [[nodiscard]] const machine::FaultReport& fault_report() const override { return report_; }
    [[nodiscard]] std::string engine_name() const override { return "none"; }
    [[nodiscard]] machine::NicAddresses nic_addresses() override { return {}; }
    [[nodiscard]] GuestShape shape() const override { return {}; }
    machine::GuestMemory& memory() override { return memory_; }
    std::span<std::byte> blank_memory() override { return memory_.all(); }
    std::vector<std::byte> save_vcpu() override { return {}; }
    void restore_vcpu(std::span<const std::byte> /*state*/) override {}
    void kick(machine::Kick /*how*/) override {}
    void abandon() override {}

  private:
    machine::GuestMemory memory_{Bytes{4096}};
    machine::FaultReport report_;
};

}  // namespace understudy::replication
