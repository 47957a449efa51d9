// The servers that a pair needs, on this machine: three arbiters and a gateway.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tools/demo/stage.hpp"

namespace understudy::tools {

struct Arbiters {
    std::string url;  // for --arbiter
    // How a replica of any VM knows itself to arbiters and to other replicas: more words for its command.
    std::vector<std::string> credentials;
    std::filesystem::path certificates;  // the folder; an operator's are there, too
    [[nodiscard]] std::string operator_url() const;
    std::vector<std::shared_ptr<Child>> servers;
    std::string host;                  // where they listen
    std::vector<std::uint16_t> ports;  // of each
};

// `understudy arbiter serve` on loopback: the server `id`, from 1, of those that listen on `ports`. `credentials`: as
// for a replica.
[[nodiscard]] std::vector<std::string> arbiter_command(const std::filesystem::path& executable, std::size_t id,
                                                       const std::filesystem::path& data,
                                                       const std::vector<std::uint16_t>& ports,
                                                       const std::vector<std::string>& credentials,
                                                       const std::string& host = "127.0.0.1");
// "raft://127.0.0.1:7001,127.0.0.1:7002": where they are asked; the same for "etcd".
[[nodiscard]] std::string server_url(const std::string& scheme, const std::vector<std::uint16_t>& ports,
                                     const std::string& host = "127.0.0.1");

// Three servers on an address of this machine, listening, under certificates that are made for the stage. `executable`
// is `understudy`. Throws understudy::Error.
[[nodiscard]] Arbiters start_arbiters(Stage& stage, const std::filesystem::path& executable,
                                      const std::string& host = "127.0.0.1");
// Which of the servers leads, from 0. Throws understudy::Error when none does.
[[nodiscard]] std::size_t leader_of(const Arbiters& arbiters, const std::filesystem::path& executable);
// Starts a server again that was killed, with what it has on disk, and waits until it listens.
void restart_arbiter(Stage& stage, Arbiters& arbiters, const std::filesystem::path& executable, std::size_t index);

struct GatewayService {
    std::string endpoint;         // for --network
    std::uint16_t host_port = 0;  // of 127.0.0.1, led to the guest
    std::shared_ptr<Child> server;
};

// How replicas reach a gateway: a Unix socket of the stage's, or TCP at an address, under certificates.
struct GatewayListen {
    std::string host{};                    // "127.0.0.1"; empty: a Unix socket
    std::filesystem::path certificates{};  // the folder, for TCP
};
// A gateway that leads a port of this host to `guest_port`, listening. `name` is another for each on one stage. Throws
// understudy::Error.
[[nodiscard]] GatewayService start_gateway(Stage& stage, const std::filesystem::path& executable,
                                           const std::string& name, std::uint16_t guest_port,
                                           const GatewayListen& listen = {});

}  // namespace understudy::tools
