// The engine on /dev/kvm. One VM, one vCPU, one memory slot, no in-kernel interrupt controller: the guest stays in ring
// 3 and leaves by OUT, so that the same image runs on hardware-assisted KVM and on KVM flavours without it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "hypervisor/engine/engine.hpp"

namespace understudy::engine {

// What Engine::name() says of this one.
constexpr const char* kKvmEngineName = "kvm";

// `memory` is the guest's physical memory from address 0 and must outlive the engine. Throws understudy::Error that
// says what to install or permit when /dev/kvm is missing, not permitted, or lacks a capability.
[[nodiscard]] std::unique_ptr<Engine> make_kvm_engine(std::span<std::byte> memory, const BootState& boot);

}  // namespace understudy::engine
