// A guest's machine, of whichever kind it is: the one place that tells the kinds apart.
#pragma once

#include <memory>
#include <string>

#include "common/guest_shape.hpp"
#include "hypervisor/machine/machine.hpp"
#include "hypervisor/machine/vm_config.hpp"

namespace understudy::machine {

[[nodiscard]] const std::string& name_of(const GuestConfig& config);
// The file that the guest reads as its disk; empty: none.
[[nodiscard]] std::string image_of(const GuestConfig& config);

// A machine before its first instruction. Throws understudy::Error: files that are missing or unfit, too little memory,
// no engine.
[[nodiscard]] std::unique_ptr<Machine> boot(const GuestConfig& config, const EngineFactory& make_engine);

// A machine whose state arrives from elsewhere: fill blank_memory(), then restore_vcpu(). `image` is this host's copy
// of the guest's disk, or empty. Throws understudy::Error: as above, and when the image is not the guest's.
[[nodiscard]] std::unique_ptr<Machine> blank(const GuestShape& shape, const std::string& image,
                                             const EngineFactory& make_engine);

}  // namespace understudy::machine
