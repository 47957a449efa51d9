// One arbiter server on the network: a ServerCore, driven by Boost.Asio.
//
// One thread. Each turn of its loop handles everything that has arrived, then makes one group commit for all of it: a
// leader's AppendEntries leave before its own fdatasync, answers after. Only snapshots are written on a second thread.
#pragma once

#include <memory>
#include <string>

#include "arbiter/server/server_core.hpp"
#include "common/address.hpp"
#include "common/tls/context.hpp"

namespace understudy::arbiter {

// Of the descriptors that the process may have these are not for clients: log, snapshots, peers, the metrics page.
constexpr std::size_t kReservedDescriptors = 64;

struct ServerOptions {
    ServerCoreOptions core;
    std::string data;                    // directory
    Address listen;                      // port 0: any that is free
    std::shared_ptr<tls::Context> tls;   // an arbiter's; null: plain text, for which all must be on loopback
    std::optional<Address> metrics;      // Prometheus text over HTTP, or HTTPS
    std::string cluster = "understudy";  // peers and clients of another name are refused
    std::size_t max_connections = 4096;
};

class Server {
  public:
    // Listens and recovers from the data directory. Throws understudy::Error; where that is for want of a port, the
    // directory is as it was.
    explicit Server(ServerOptions options);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    [[nodiscard]] std::uint16_t port() const;
    [[nodiscard]] std::uint16_t metrics_port() const;  // 0: none
    [[nodiscard]] std::uint64_t torn_bytes() const;    // cut off the log's end at start (storage/wal.hpp)
    [[nodiscard]] bool was_empty() const;              // the data directory, before
    // As it is stored. Before run().
    [[nodiscard]] const raft::Configuration& configuration() const;

    // Serves until stop(). Throws understudy::Error when the disk fails.
    void run();
    // From any thread: hands leadership over if this server leads, then ends run().
    void stop();

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace understudy::arbiter
