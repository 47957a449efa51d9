#include "tools/command/vm_options.hpp"

#include <CLI/CLI.hpp>
#include <charconv>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "common/error.hpp"
#include "tools/command/choice.hpp"
#include "tools/vm/domain_xml.hpp"

namespace understudy::tools {
namespace {

// "10.0.2.15/24"
void set_address(std::string_view text, NetworkDescription& network) {
    const auto slash = text.find('/');
    const std::string_view digits = slash == std::string_view::npos ? std::string_view{} : text.substr(slash + 1);
    unsigned prefix = 0;
    const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
    if (digits.empty() || failure != std::errc{} || end != digits.data() + digits.size() || prefix > 32) {
        throw Error::format("'{}' is no address with a prefix length: write for example --address 10.0.2.15/24", text);
    }
    network.ipv4_address = parse_ipv4(text.substr(0, slash));
    network.ipv4_netmask = netmask_of(prefix);
}

void set_nameservers(const std::vector<std::string>& servers, NetworkDescription& network) {
    constexpr std::size_t kMost = 3;  // that the guest's libraries look at: resolv.conf(5)
    if (servers.size() > kMost) {
        throw Error::format("--nameserver: a guest asks {} at the most", kMost);
    }
    for (const std::string& server : servers) {
        (void)parse_ipv4(server);
    }
    network.nameservers = servers;
}

// Linux gives its init what stands behind "--".
bool names_command(const std::string& command_line) {
    return (" " + command_line + " ").find(" -- ") != std::string::npos;
}

}  // namespace

VmOptions::VmOptions(CLI::App& app) {
    CLI::Option* domain = app.add_option("--domain", domain_, "The VM as a libvirt domain (XML file)");
    app.add_option("--name", name_, "The VM's name, and its host name [that of the image or program]")
        ->excludes(domain);
    CLI::Option* program =
        app.add_option("--program", program_,
                       "Instead of Linux, a small kernel with this one program: a static x86-64 Linux executable")
            ->excludes(domain);
    app.add_option("--image", image_, "The guest's disk, as `understudy image` makes them; the guest writes to memory")
        ->excludes(domain)
        ->excludes(program);
    app.add_option("--initrd", initrd_, "An initial file system (cpio) to start from instead of the image's")
        ->excludes(domain)
        ->excludes(program);
    app.add_option("--cmdline", command_line_, "The Linux kernel's command line")->excludes(domain)->excludes(program);
    const std::vector<std::pair<std::string, bool>> ends = {{"destroy", false}, {"restart", true}};
    add_choice(app, "--on-reboot", restarts_on_reboot_, ends,
               "When the guest asks for a reboot: destroy ends it, restart starts it again [destroy]")
        ->excludes(domain)
        ->excludes(program);
    add_choice(app, "--on-crash", restarts_on_crash_, ends, "The same, when its kernel panics [destroy]")
        ->excludes(domain)
        ->excludes(program);
    app.add_option("--memory", memory_, "The guest's memory [512M; 64M with --program]")->excludes(domain);
    app.add_option("--root", root_archive_, "With --program: a tar archive, the guest's read-only root")
        ->needs(program);
    app.add_option("--env", environment_, "NAME=VALUE for the program's environment; may be repeated")
        ->allow_extra_args(false);
    app.add_option("--network", network_,
                   "gateway:unix:PATH, gateway:HOST:PORT, tap:NAME[,bridge=BRIDGE] or none [none]");
    app.add_option("--address", address_, "The guest's address, as 10.0.2.15/24")->excludes(domain);
    app.add_option("--gateway", gateway_, "The guest's default route, as 10.0.2.2")->excludes(domain);
    app.add_option(
           "--nameserver", nameservers_,
           "Where a Linux guest asks for names; may be repeated [with a gateway 10.0.2.3, else what its image says]")
        ->allow_extra_args(false)
        ->excludes(program);
    app.add_option("--mac", mac_, "The guest's MAC address [derived from the name]")->excludes(domain);
    app.add_option("--kernel", kernel_, "The guest kernel [the one built with this command]");
}

std::string VmOptions::default_name() const {
    if (!program_.empty()) {
        return std::filesystem::path(program_).filename().string();
    }
    return std::filesystem::path(image_.empty() ? initrd_ : image_).stem().string();
}

VmDescription VmOptions::description() const {
    VmDescription result;
    if (!domain_.empty()) {
        if (!arguments_.empty()) {
            throw Error("a domain names the command itself, behind '--' in <cmdline>: give none after '--'");
        }
        result = read_domain_file(domain_, network_);
    } else {
        if (image_.empty() && initrd_.empty() && program_.empty()) {
            throw Error(
                "what is to run? Give --image FILE (`understudy image` makes one), or --domain FILE for a libvirt "
                "domain");
        }
        result.image = image_;
        result.initrd = initrd_;
        result.command_line = command_line_;
        result.restarts_on_reboot = restarts_on_reboot_;
        result.restarts_on_crash = restarts_on_crash_;
        if (!arguments_.empty() && names_command(command_line_)) {
            throw Error("the command is named twice: behind '--' in --cmdline, and after '--'");
        }
        result.program = program_;
        result.name = name_.empty() ? default_name() : name_;
        result.memory = parse_size(memory_.empty() ? (program_.empty() ? "512M" : "64M") : memory_);
        result.arguments = arguments_;
        if (!root_archive_.empty()) {
            result.root_archive = root_archive_;
        }
        if (!network_.empty()) {
            result.network.endpoint = network_;
        }
        if (!address_.empty()) {
            set_address(address_, result.network);
        }
        if (!gateway_.empty()) {
            result.network.ipv4_gateway = parse_ipv4(gateway_);
        }
        if (!mac_.empty()) {
            result.network.mac = parse_mac(mac_);
        }
    }
    set_nameservers(nameservers_, result.network);
    result.environment.insert(result.environment.end(), environment_.begin(), environment_.end());
    if (!kernel_.empty()) {
        result.kernel = kernel_;
    }
    complete(result);
    return result;
}

}  // namespace understudy::tools
