// `understudy primary`: starts a guest and offers it for protection.
#include <CLI/CLI.hpp>
#include <memory>

#include "hypervisor/replication/replica/replica.hpp"
#include "tools/command/commands.hpp"
#include "tools/command/console_options.hpp"
#include "tools/command/replica_options.hpp"
#include "tools/command/vm_options.hpp"
#include "tools/vm/machine_config.hpp"

namespace understudy::tools {
namespace {

struct Options {
    explicit Options(CLI::App& app) : vm(app), replica(app), console(app, ConsoleOptions::Input::standard_input) {}
    VmOptions vm;
    ReplicaOptions replica;
    ConsoleOptions console;
};

}  // namespace

Command add_primary(CLI::App& root) {
    CLI::App* app = root.add_subcommand("primary", "Start a guest and offer it for protection");
    auto options = std::make_shared<Options>(*app);
    app->footer(
        "The VM is claimed at the arbiter before its guest starts: a second primary of the same name is refused.\n\n"
        "Example:\n  understudy primary --name shop --image redis.img --insecure \\\n"
        "    --listen 127.0.0.1:7300 --arbiter raft://127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003 \\\n"
        "    --network gateway:127.0.0.1:7200 -- redis-server --protected-mode no");
    Command command{app, [options] {
                        const VmDescription vm = options->vm.description();
                        const machine::GuestConfig guest = guest_config(vm);
                        replication::ReplicaConfig config =
                            options->replica.config(vm.name, {.read = files_of(guest),
                                                              .record = {},
                                                              .console_socket = options->console.socket(),
                                                              .keep = {},
                                                              .network = vm.network.endpoint});
                        config.link = link_config(vm);
                        config.link.tls = config.tls;
                        config.console = options->console.config(vm.is_linux(), options->replica.json());
                        return exit_status_of(replication::run_primary(guest, config));
                    }};
    command.program_arguments = &options->vm.arguments();
    return command;
}

}  // namespace understudy::tools
