// The machine that a report's figures are of, and what it was busy with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace understudy::report {

// Of all processors since the machine booted, in proc(5)'s ticks.
struct ProcessorTicks {
    double all = 0;
    double stolen = 0;  // by the host that this machine is a guest of, for others
};

struct Machine {
    std::string version;    // of Understudy
    std::string date;       // of the beginning, "2026-01-31 12:00 UTC"
    std::string processor;  // "AMD EPYC 7B13"
    unsigned cores = 0;
    std::uint64_t memory_mib = 0;
    std::string kernel;        // "Linux 6.1.0 x86_64"
    std::string kvm;           // "kvm_intel"; empty: cannot be told
    std::string hypervisor;    // of which this machine is itself a guest, "KVM"; empty: none that it can see
    double load_at_start = 0;  // of the last minute
    double load_at_end = 0;
    ProcessorTicks ticks_at_start;
    double stolen_percent = 0;  // of the processors' time between start and end
};

// What /proc and uname(2) say of this one; `version` and `kvm` are the caller's to know.
[[nodiscard]] Machine describe_machine(std::string version, std::string kvm);
// What it was busy with, now that it is measured.
void note_end(Machine& machine);

// From the text of /proc/stat.
[[nodiscard]] ProcessorTicks processor_ticks(std::string_view stat);
[[nodiscard]] double stolen_percent(const ProcessorTicks& from, const ProcessorTicks& to);

}  // namespace understudy::report
