// What this host's KVM offers, found out without starting a guest.
#pragma once

#include <string>
#include <vector>

namespace understudy::engine {

struct KvmCapability {
    std::string name;     // as in linux/kvm.h
    std::string purpose;  // what the engine does with it
    bool present = false;
};

struct KvmProbe {
    int open_error = 0;    // errno of opening /dev/kvm; 0: open, and the rest is filled in
    int api_version = 0;   // 12 on every Linux since 2.6.22
    int create_error = 0;  // errno of creating a VM with one vCPU; 0: created, and given up again
    std::string flavour;   // the module that runs guests: kvm_intel, kvm_amd, kvm_pvm; empty where it cannot be told
    std::vector<KvmCapability> capabilities;  // all of them are needed

    // The engine can run a guest here.
    [[nodiscard]] bool usable() const;
};

[[nodiscard]] KvmProbe probe_kvm();
// KvmProbe::flavour alone.
[[nodiscard]] std::string kvm_flavour();

}  // namespace understudy::engine
