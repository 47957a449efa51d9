// The engine on /dev/kvm. One VM, one vCPU, one memory slot, no in-kernel interrupt controller: the guest stays in ring
// 3 and leaves by OUT, so that the same image runs on hardware-assisted KVM and on KVM flavours without it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "common/file_descriptor.hpp"
#include "hypervisor/engine/engine.hpp"

namespace understudy::engine {

// What Engine::name() says of this one.
constexpr const char* kKvmEngineName = "kvm";

// Makes engines, each on the /dev/kvm that was opened with the factory: a thread that may open nothing can still
// replace one. `memory` is the guest's physical memory from address 0 and must outlive the engine. Construction and
// call throw understudy::Error that says what to install or permit when /dev/kvm is missing, not permitted, or lacks a
// capability.
class KvmEngines {
  public:
    KvmEngines();
    [[nodiscard]] std::unique_ptr<Engine> operator()(std::span<std::byte> memory, const BootState& boot) const;

  private:
    std::shared_ptr<const FileDescriptor> kvm_;
};

}  // namespace understudy::engine
