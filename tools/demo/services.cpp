#include "tools/demo/services.hpp"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "common/tls/authority.hpp"
#include "tools/output/event.hpp"
#include "tools/process/free_ports.hpp"

namespace understudy::tools {
namespace {

constexpr std::size_t kServers = 3;
const std::string kHost = "host-demo";
const std::string kOperator = "operator-demo";
constexpr std::chrono::seconds kStartTime{20};

// The certificates of three servers, and of a host for every VM, in a folder of the stage.
std::filesystem::path make_site(Stage& stage) {
    const auto folder = stage.directory().path() / "certificates";
    std::vector<tls::Identity> holders{{.role = tls::Role::host, .name = kHost, .vms = {}, .all_vms = true},
                                       {.role = tls::Role::site_operator, .name = kOperator, .vms = {}}};
    for (std::size_t id = 1; id <= kServers; ++id) {
        holders.push_back({.role = tls::Role::arbiter, .name = tls::arbiter_name(id), .vms = {}});
    }
    tls::make_certificates(folder, holders);
    return folder;
}

// Counts the servers that have said where they listen.
Child::LineHandler count_listening(std::shared_ptr<std::size_t> count) {
    return [count = std::move(count)](std::string_view line) {
        const auto event = parse_event(line);
        *count += event && event->kind() == "listening" ? 1 : 0;
    };
}

}  // namespace

std::vector<std::string> arbiter_command(const std::filesystem::path& executable, std::size_t id,
                                         const std::filesystem::path& data, const std::vector<std::uint16_t>& ports,
                                         const std::vector<std::string>& credentials) {
    std::vector<std::string> words{executable.string(), "arbiter", "serve",       "--id",
                                   std::to_string(id),  "--data",  data.string(), "--json"};
    words.insert(words.end(), credentials.begin(), credentials.end());
    if (!std::filesystem::exists(data)) {
        words.emplace_back("--bootstrap");
    }
    for (std::size_t peer = 1; peer <= ports.size(); ++peer) {
        words.insert(words.end(), {"--peer", fmt::format("{}=127.0.0.1:{}", peer, ports[peer - 1])});
    }
    return words;
}

std::string loopback_url(const std::string& scheme, const std::vector<std::uint16_t>& ports) {
    std::string url;
    for (const std::uint16_t port : ports) {
        url += fmt::format("{}127.0.0.1:{}", url.empty() ? scheme + "://" : ",", port);
    }
    return url;
}

std::string Arbiters::operator_url() const {
    return fmt::format("{}?tls={}", url, (certificates / kOperator).string());
}

Arbiters start_arbiters(Stage& stage, const std::filesystem::path& executable) {
    const auto ports = free_ports(kServers);
    Arbiters arbiters;
    arbiters.url = loopback_url("raft", ports);
    const auto site = make_site(stage);
    arbiters.certificates = site;
    arbiters.credentials = {"--tls", site / kHost};
    const auto listening = std::make_shared<std::size_t>(0);
    for (std::size_t id = 1; id <= kServers; ++id) {
        const std::string name = fmt::format("arbiter-{}", id);
        arbiters.servers.push_back(stage.start(name,
                                               arbiter_command(executable, id, stage.directory().path() / name, ports,
                                                               {"--tls", site / tls::arbiter_name(id)}),
                                               count_listening(listening)));
        stage.expect(name, arbiters.servers.back());
    }
    stage.until([&] { return *listening == kServers; }, kStartTime, "the arbiters to listen");
    return arbiters;
}

GatewayService start_gateway(Stage& stage, const std::filesystem::path& executable, const std::string& name,
                             std::uint16_t guest_port) {
    GatewayService gateway;
    const std::string socket = "unix:" + (stage.directory().path() / name).string();
    gateway.endpoint = "gateway:" + socket;
    gateway.host_port = free_port();
    const auto listening = std::make_shared<std::size_t>(0);
    gateway.server = stage.start(name,
                                 {executable.string(), "gateway", "--listen", socket, "--forward",
                                  fmt::format("tcp:127.0.0.1:{}:{}", gateway.host_port, guest_port), "--json",
                                  "--capture", (stage.directory().path() / (name + ".pcap")).string()},
                                 count_listening(listening));
    stage.expect(name, gateway.server);
    stage.until([&] { return *listening == 1; }, kStartTime, "the " + name + " to listen");
    return gateway;
}

}  // namespace understudy::tools
