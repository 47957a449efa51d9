#include "tools/demo/services.hpp"

#include <fmt/format.h>

#include <regex>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "common/tls/authority.hpp"
#include "tools/output/event.hpp"
#include "tools/process/free_ports.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

constexpr std::size_t kServers = 3;
const std::string kHost = "host-demo";
const std::string kGateway = "gateway-demo";
const std::string kOperator = "operator-demo";
constexpr std::chrono::seconds kStartTime{20};

// The certificates of three servers, and of a host and a gateway for every VM, in a folder of the stage.
std::filesystem::path make_site(Stage& stage) {
    auto folder = stage.directory().path() / "certificates";
    std::vector<tls::Identity> holders{{.role = tls::Role::host, .name = kHost, .vms = {}, .all_vms = true},
                                       {.role = tls::Role::gateway, .name = kGateway, .vms = {}, .all_vms = true},
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
                                         const std::vector<std::string>& credentials, const std::string& host) {
    std::vector<std::string> words{executable.string(), "arbiter", "serve",       "--id",
                                   std::to_string(id),  "--data",  data.string(), "--json"};
    words.insert(words.end(), credentials.begin(), credentials.end());
    if (!std::filesystem::exists(data)) {
        words.emplace_back("--bootstrap");
    }
    for (std::size_t peer = 1; peer <= ports.size(); ++peer) {
        words.insert(words.end(), {"--peer", fmt::format("{}={}:{}", peer, host, ports[peer - 1])});
    }
    return words;
}

std::string server_url(const std::string& scheme, const std::vector<std::uint16_t>& ports, const std::string& host) {
    std::string url;
    for (const std::uint16_t port : ports) {
        url += fmt::format("{}{}:{}", url.empty() ? scheme + "://" : ",", host, port);
    }
    return url;
}

std::string Arbiters::operator_url() const {
    return fmt::format("{}?tls={}", url, (certificates / kOperator).string());
}

namespace {

// Returns at once; `on_line` hears when it listens.
void start_server(Stage& stage, Arbiters& arbiters, const std::filesystem::path& executable, std::size_t index,
                  Child::LineHandler on_line) {
    const std::size_t id = index + 1;
    const std::string name = fmt::format("arbiter-{}", id);
    const auto credentials = arbiters.certificates / tls::arbiter_name(id);
    auto& server = arbiters.servers.at(index);
    server = stage.start(name,
                         arbiter_command(executable, id, stage.directory().path() / name, arbiters.ports,
                                         {"--tls", credentials}, arbiters.host),
                         std::move(on_line));
    stage.expect(name, server);
}

}  // namespace

Arbiters start_arbiters(Stage& stage, const std::filesystem::path& executable, const std::string& host) {
    Arbiters arbiters;
    arbiters.host = host;
    arbiters.ports = free_ports(kServers);
    arbiters.url = server_url("raft", arbiters.ports, host);
    arbiters.certificates = make_site(stage);
    arbiters.credentials = {"--tls", arbiters.certificates / kHost};
    arbiters.servers.resize(kServers);
    const auto listening = std::make_shared<std::size_t>(0);
    for (std::size_t index = 0; index < kServers; ++index) {
        start_server(stage, arbiters, executable, index, count_listening(listening));
    }
    stage.until([&] { return *listening == kServers; }, kStartTime, "the arbiters to listen");
    return arbiters;
}

std::size_t leader_of(const Arbiters& arbiters, const std::filesystem::path& executable) {
    const auto asked =
        run_to_end({executable.string(), "arbiter", "status", "--json", "--arbiter", arbiters.operator_url()});
    static const std::regex pattern(R"re("id":([0-9]+),"role":"leader")re");
    std::smatch match;
    if (!std::regex_search(asked.output, match, pattern)) {
        throw Error("no server leads the arbiter: " + asked.output + asked.errors);
    }
    return std::stoul(match[1]) - 1;
}

void restart_arbiter(Stage& stage, Arbiters& arbiters, const std::filesystem::path& executable, std::size_t index) {
    const auto listening = std::make_shared<std::size_t>(0);
    start_server(stage, arbiters, executable, index, count_listening(listening));
    stage.until([&] { return *listening == 1; }, kStartTime, "the arbiter's server to listen again");
}

GatewayService start_gateway(Stage& stage, const std::filesystem::path& executable, const std::string& name,
                             std::uint16_t guest_port, const GatewayListen& listen) {
    GatewayService gateway;
    const auto ports = free_ports(2);
    gateway.host_port = ports[0];
    const std::string place = listen.host.empty() ? "unix:" + (stage.directory().path() / name).string()
                                                  : fmt::format("{}:{}", listen.host, ports[1]);
    gateway.endpoint = "gateway:" + place;
    std::vector<std::string> words{executable.string(),
                                   "gateway",
                                   "--listen",
                                   place,
                                   "--forward",
                                   fmt::format("tcp:127.0.0.1:{}:{}", gateway.host_port, guest_port),
                                   "--json",
                                   "--capture",
                                   (stage.directory().path() / (name + ".pcap")).string()};
    if (!listen.host.empty()) {
        words.insert(words.end(), {"--tls", listen.certificates / kGateway});
    }
    const auto listening = std::make_shared<std::size_t>(0);
    gateway.server = stage.start(name, std::move(words), count_listening(listening));
    stage.expect(name, gateway.server);
    stage.until([&] { return *listening == 1; }, kStartTime, "the " + name + " to listen");
    return gateway;
}

}  // namespace understudy::tools
