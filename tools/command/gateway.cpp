// `understudy gateway`: user-mode networking for one VM, in a process that outlives its replicas.
#include "hypervisor/gateway/gateway.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/descriptor_limit.hpp"
#include "hypervisor/gateway/endpoint.hpp"
#include "tools/command/commands.hpp"
#include "tools/command/sandbox_options.hpp"
#include "tools/command/stop_signals.hpp"
#include "tools/command/transport_options.hpp"
#include "tools/output/event_writer.hpp"
#include "tools/output/patient_log.hpp"
#include "tools/output/patient_output.hpp"

namespace understudy::tools {
namespace {

using network::Gateway;
using network::GatewayEvent;

struct Options {
    explicit Options(CLI::App& app) : transport(app, "certificates/gateway-edge"), sandbox(app) {}
    TransportOptions transport;
    SandboxOptions sandbox;
    std::vector<std::string> listen;
    std::vector<std::string> forwards;
    std::string vm;
    std::string capture;
    bool host_loopback = false;
    bool json = false;
};

Event as_event(const GatewayEvent& event) {
    using Kind = GatewayEvent::Kind;
    switch (event.kind) {
        case Kind::listening:
            return {"listening", {{"endpoint", event.detail}}};
        case Kind::standing_by:
            return {"standing_by", {{"vm", event.vm}}};
        case Kind::refused:
            return {"refused", {{"reason", event.detail}}};
        case Kind::attached:
        case Kind::detached:
            break;
    }
    std::vector<Event::Field> fields = {
        {"vm", event.vm}, {"generation", event.rank.generation.value}, {"won", event.rank.won}};
    if (event.kind == Kind::attached) {
        fields.emplace_back("frames_waiting", std::uint64_t{event.frames});
    } else {
        fields.emplace_back("reason", event.detail);
    }
    return {event.kind == Kind::attached ? "attached" : "detached", std::move(fields)};
}

// Its sockets, whose files it removes in the end, its ports, and the capture, whose files take turns.
sandbox::Walls walls_of(const Options& options, const std::vector<network::Forward>& forwards) {
    sandbox::Walls walls{.profile = sandbox::Profile::gateway, .paths = {}, .makes_taps = false, .ports = {}};
    for (const std::string& text : options.listen) {
        const network::Endpoint endpoint = network::parse_endpoint(text);
        walls.ports.push_back(endpoint.port());
        if (endpoint.is_unix()) {
            walls.paths.push_back({folder_of(endpoint.unix_path()), sandbox::Use::sockets});
        }
    }
    for (const network::Forward& forward : forwards) {
        walls.ports.push_back(forward.host_port);
    }
    if (!options.capture.empty()) {
        walls.paths.push_back({folder_of(options.capture), sandbox::Use::keep});
    }
    return walls;
}

int run(const Options& options) {
    std::signal(SIGPIPE, SIG_IGN);  // libslirp writes to the host's sockets without MSG_NOSIGNAL
    raise_descriptor_limit(network::kMostDescriptors);
    const auto stop = stop_signals();
    network::GatewayConfig config;
    config.listen = options.listen;
    config.tls = options.transport.credentials(tls::Role::gateway,
                                               !std::ranges::all_of(options.listen, [](const std::string& endpoint) {
                                                   return endpoint.starts_with("unix:");
                                               }));
    config.vm = options.vm;
    config.capture = options.capture;
    config.network.host_loopback = options.host_loopback;
    for (const std::string& forward : options.forwards) {
        config.network.forwards.push_back(network::parse_forward(forward));
    }
    options.sandbox.enter_and_tell(walls_of(options, config.network.forwards));
    log_patiently("gateway", STDERR_FILENO);
    PatientOutput output(STDOUT_FILENO);
    EventWriter writer(stdout, options.json ? EventWriter::Form::json : EventWriter::Form::text,
                       [&output](std::string_view bytes) { output.write(bytes); });
    Gateway gateway(std::move(config), [&writer](const GatewayEvent& event) { writer.write(as_event(event)); });
    gateway.run(stop.get());
    return 0;
}

}  // namespace

Command add_gateway(CLI::App& root) {
    CLI::App* app =
        root.add_subcommand("gateway", "User-mode network for a guest: no root, ports forwarded from the host");
    const auto options = std::make_shared<Options>(*app);
    app->add_option("--listen", options->listen, "Where replicas find the gateway: unix:PATH or HOST:PORT; repeatable")
        ->required()
        ->type_name("ENDPOINT");
    app->add_option("--forward", options->forwards,
                    "Lead a port of the host to the guest, PROTOCOL:HOST-ADDRESS:HOST-PORT:GUEST-PORT; repeatable")
        ->type_name("FORWARD");
    app->add_option("--vm", options->vm, "Serve this VM only (default: the first that comes)")->type_name("NAME");
    app->add_option("--capture", options->capture,
                    "Keep the headers of the guest's last frames in FILE and FILE.1, for tcpdump and Wireshark")
        ->type_name("FILE");
    app->add_flag("--host-loopback", options->host_loopback,
                  "Let the guest reach the host's own 127.0.0.1 as 10.0.2.2");
    app->add_flag("--json", options->json, "Print events as JSON lines");
    app->footer(
        "The guest has the address 10.0.2.15, the gateway 10.0.2.2. Connections outlive the replicas behind them.\n"
        "Example:\n"
        "  understudy gateway --listen unix:/run/kv.sock --forward tcp:127.0.0.1:6379:6379");
    return {.app = app, .run = [options] { return run(*options); }};
}

}  // namespace understudy::tools
