#include "tools/vm/machine_config.hpp"

#include <chrono>

namespace understudy::tools {
namespace {

machine::NetworkConfig network_config(const NetworkDescription& network) {
    return {network.mac, network.ipv4_address, network.ipv4_netmask, network.ipv4_gateway};
}

machine::LinuxConfig linux_config(const VmDescription& vm) {
    const LinuxFiles files = default_linux_files();
    machine::LinuxConfig config;
    config.name = vm.name;
    config.memory = vm.memory;
    config.kernel = (vm.kernel.empty() ? files.kernel : vm.kernel).string();
    config.layer = files.layer.string();
    config.init = files.init.string();
    config.initrd = vm.initrd.string();
    config.command_line = vm.command_line;
    config.image = vm.image.string();
    config.restarts_on_reboot = vm.restarts_on_reboot;
    config.restarts_on_crash = vm.restarts_on_crash;
    config.arguments = vm.arguments;
    config.environment = vm.environment;
    config.has_network = vm.network.present();
    config.network = network_config(vm.network);
    config.nameservers = vm.network.nameservers;
    config.realtime_offset = std::chrono::system_clock::now().time_since_epoch();
    return config;
}

machine::VmConfig small_config(const VmDescription& vm) {
    machine::VmConfig config;
    config.name = vm.name;
    config.memory = vm.memory;
    config.kernel = (vm.kernel.empty() ? default_kernel_path() : vm.kernel).string();
    config.program = vm.program.string();
    config.arguments = vm.arguments;
    config.environment = vm.environment;
    config.root_archive = vm.root_archive ? vm.root_archive->string() : "";
    config.has_network = vm.network.present();
    config.network = network_config(vm.network);
    config.realtime_offset = std::chrono::system_clock::now().time_since_epoch();
    return config;
}

}  // namespace

machine::GuestConfig guest_config(const VmDescription& vm) {
    if (vm.is_linux()) {
        return linux_config(vm);
    }
    return small_config(vm);
}

std::vector<std::filesystem::path> files_of(const machine::GuestConfig& guest) {
    if (const auto* config = std::get_if<machine::LinuxConfig>(&guest)) {
        return {config->kernel, config->layer, config->init, config->initrd, config->image};
    }
    const auto& config = std::get<machine::VmConfig>(guest);
    return {config.kernel, config.program, config.root_archive};
}

network::LinkConfig link_config(const VmDescription& vm) {
    return {vm.network.endpoint, vm.name, vm.network.mac, vm.network.ipv4_address};
}

}  // namespace understudy::tools
