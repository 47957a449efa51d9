// From what the user described to what machine and link want.
#pragma once

#include <filesystem>
#include <vector>

#include "hypervisor/machine/vm_config.hpp"
#include "hypervisor/network/link.hpp"
#include "tools/vm/vm_description.hpp"

namespace understudy::tools {

[[nodiscard]] machine::GuestConfig guest_config(const VmDescription& vm);
// What of this host's files a guest is started from.
[[nodiscard]] std::vector<std::filesystem::path> files_of(const machine::GuestConfig& guest);
[[nodiscard]] network::LinkConfig link_config(const VmDescription& vm);

}  // namespace understudy::tools
