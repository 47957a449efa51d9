// `understudy init`: the certificates of a site.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/tls/authority.hpp"
#include "tools/command/commands.hpp"
#include "tools/output/event_writer.hpp"

namespace understudy::tools {
namespace {

using tls::Identity;
using tls::Role;

constexpr std::size_t kMaxName = 50;

struct Options {
    std::string out;
    std::vector<std::uint64_t> arbiters;
    std::vector<std::string> hosts;
    std::vector<std::string> gateways;
    std::vector<std::string> clients;
    std::vector<std::string> operators;
    unsigned days = 3650;
    bool json = false;
};

// A file is called after it.
Identity named(Role role, std::string_view name) {
    const auto usable = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
               c == '_';
    };
    if (name.empty() || name.size() > kMaxName || !std::ranges::all_of(name, usable)) {
        throw Error::format("'{}' is no name for a {}: 1 to {} letters, digits and -._", name, tls::word(role),
                            kMaxName);
    }
    return {.role = role, .name = fmt::format("{}-{}", tls::word(role), name), .vms = {}};
}

// "alpha=shop,mail" or "alpha=*"
Identity with_vms(Role role, std::string_view text) {
    const auto equals = text.find('=');
    Identity identity = named(role, text.substr(0, equals));
    auto rest = equals == std::string_view::npos ? std::string_view() : text.substr(equals + 1);
    if (rest == "*") {
        identity.all_vms = true;
        return identity;
    }
    while (true) {
        const auto comma = rest.find(',');
        if (rest.substr(0, comma).empty()) {
            throw Error::format("'{}' does not say for which VMs: write {}=VM,VM or {}=* for all", text,
                                text.substr(0, equals), text.substr(0, equals));
        }
        identity.vms.emplace_back(rest.substr(0, comma));
        if (comma == std::string_view::npos) {
            return identity;
        }
        rest.remove_prefix(comma + 1);
    }
}

std::vector<Identity> holders(const Options& options) {
    std::vector<Identity> all;
    for (const auto number : options.arbiters) {
        all.push_back({.role = Role::arbiter, .name = tls::arbiter_name(number), .vms = {}});
    }
    for (const auto& text : options.hosts) {
        all.push_back(with_vms(Role::host, text));
    }
    for (const auto& text : options.gateways) {
        all.push_back(with_vms(Role::gateway, text));
    }
    for (const auto& name : options.clients) {
        all.push_back(named(Role::client, name));
    }
    for (const auto& name : options.operators) {
        all.push_back(named(Role::site_operator, name));
    }
    return all;
}

int run(const Options& options) {
    const auto all = holders(options);
    if (all.empty()) {
        throw Error("say whom certificates are for: --arbiter, --host, --gateway, --client or --operator");
    }
    const auto written = tls::make_certificates(options.out, all, std::chrono::hours(24) * options.days);
    EventWriter events(stdout, options.json ? EventWriter::Form::json : EventWriter::Form::text);
    for (const auto& name : written) {
        events.write(Event("written", {{"file", options.out + "/" + name}}));
    }
    if (!options.json) {
        fmt::print(
            "Give each holder ca.pem and its own .pem and .key, for --tls {}/NAME; keep ca.key offline: who has it "
            "can\n"
            "make certificates.\n",
            options.out);
    }
    return 0;
}

}  // namespace

Command add_init(CLI::App& root) {
    const auto options = std::make_shared<Options>();
    CLI::App* app = root.add_subcommand("init", "The certificates of a site: one authority, and who may do what");
    app->add_option("--out", options->out, "Folder for certificates and keys; what is there is kept")->required();
    app->add_option("--arbiter", options->arbiters, "A server of the arbiter, by its number")
        ->check(CLI::PositiveNumber)
        ->type_name("N");
    app->add_option("--host", options->hosts, "A host, and the VMs that it may run replicas of; * for all")
        ->type_name("NAME=VM,VM");
    app->add_option("--gateway", options->gateways, "A gateway, and the VMs that it may be the network of; * for all")
        ->type_name("NAME=VM,VM");
    app->add_option("--client", options->clients, "Who may read the arbiter's state and its metrics")
        ->type_name("NAME");
    app->add_option("--operator", options->operators, "Who may operate a cluster of arbiters")->type_name("NAME");
    app->add_option("--days", options->days, "How long the certificates are valid")
        ->check(CLI::Range(1U, 36500U))
        ->capture_default_str();
    app->add_flag("--json", options->json, "Events as JSON, one object a line");
    app->footer(
        "Example:\n  understudy init --out certificates --arbiter 1 2 3 --host alpha=shop --host beta=shop \\\n"
        "    --gateway edge=shop --operator me");
    return {.app = app, .run = [options] { return run(*options); }};
}

}  // namespace understudy::tools
