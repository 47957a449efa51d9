#include "tools/vm/machine_config.hpp"

#include <chrono>

namespace understudy::tools {

machine::VmConfig machine_config(const VmDescription& vm) {
    machine::VmConfig config;
    config.name = vm.name;
    config.memory = vm.memory;
    config.kernel = vm.kernel.string();
    config.program = vm.program.string();
    config.arguments = vm.arguments;
    config.environment = vm.environment;
    config.root_archive = vm.root_archive ? vm.root_archive->string() : "";
    config.has_network = vm.network.present();
    config.network = {vm.network.mac, vm.network.ipv4_address, vm.network.ipv4_netmask, vm.network.ipv4_gateway};
    config.realtime_offset = std::chrono::system_clock::now().time_since_epoch();
    return config;
}

network::LinkConfig link_config(const VmDescription& vm) {
    return {vm.network.endpoint, vm.name, vm.network.mac, vm.network.ipv4_address};
}

}  // namespace understudy::tools
