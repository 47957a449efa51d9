// The machine that a report's figures are of, and what it was busy with.
#pragma once

#include <cstdint>
#include <string>

namespace understudy::report {

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
};

// What /proc and uname(2) say of this one; `version` and `kvm` are the caller's to know.
[[nodiscard]] Machine describe_machine(std::string version, std::string kvm);
[[nodiscard]] double load_average();

}  // namespace understudy::report
