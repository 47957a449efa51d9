// What KVM_RUN left in the run area, as an exit of the engine. A pure function, so that a test can show it every exit.
#pragma once

#include <linux/kvm.h>

#include "hypervisor/engine/engine.hpp"

namespace understudy::engine {

// `run` is the head of the whole run area: the value of an OUT lies behind it, at io.data_offset.
[[nodiscard]] Exit exit_of(const kvm_run& run);

}  // namespace understudy::engine
