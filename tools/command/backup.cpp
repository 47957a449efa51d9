// `understudy backup`: joins a primary, follows it, takes over when it is lost.
#include <CLI/CLI.hpp>
#include <memory>

#include "common/address.hpp"
#include "hypervisor/replication/replica/replica.hpp"
#include "tools/command/commands.hpp"
#include "tools/command/console_options.hpp"
#include "tools/command/replica_options.hpp"

namespace understudy::tools {
namespace {

struct Options {
    explicit Options(CLI::App& app) : replica(app), console(app, ConsoleOptions::Input::none) {}
    std::string name;
    std::string primary;
    std::string image;
    std::string network = "none";
    std::string keep_diverged;
    ReplicaOptions replica;
    ConsoleOptions console;
};

}  // namespace

Command add_backup(CLI::App& root) {
    CLI::App* app = root.add_subcommand("backup", "Join a primary, follow it, take over when it is lost");
    auto options = std::make_shared<Options>(*app);
    app->add_option("--name", options->name, "The VM's name, as at its primary")->required();
    app->add_option("--primary", options->primary, "HOST:PORT where the primary listens")->required();
    app->add_option("--image", options->image, "This host's copy of the guest's disk, if it has one");
    app->add_option(
           "--network", options->network,
           "The guest's network from this host: gateway:unix:PATH, gateway:HOST:PORT, tap:NAME[,bridge=BR] or none")
        ->capture_default_str();
    app->add_option(
           "--keep-diverged", options->keep_diverged,
           "A folder for the guest's states where this host finds its own different from the log: its own, and "
           "what it then gets from the primary")
        ->type_name("DIR")
        ->check(CLI::ExistingDirectory);
    app->footer(
        "Memory, program and addresses come from the primary. After a takeover this replica listens for a backup of "
        "its\n"
        "own.\n\nExample:\n  understudy backup --name shop --primary 127.0.0.1:7300 --insecure \\\n"
        "    --listen 127.0.0.1:7301 --arbiter raft://127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003 --network "
        "gateway:127.0.0.1:7200");
    return {app, [options] {
                const Address primary = parse_address(options->primary);
                replication::BackupConfig config;
                config.replica = options->replica.config(options->name, {.read = {options->image},
                                                                         .record = {},
                                                                         .console_socket = options->console.socket(),
                                                                         .keep = options->keep_diverged,
                                                                         .network = options->network});
                config.replica.link.endpoint = options->network;
                config.replica.link.tls = config.replica.tls;
                config.replica.console = options->console.config(true, true);
                config.vm = options->name;
                config.primary_host = primary.host;
                config.primary_port = primary.port;
                config.image = options->image;
                config.replica.keep_diverged = options->keep_diverged;
                return exit_status_of(replication::run_backup(config));
            }};
}

}  // namespace understudy::tools
