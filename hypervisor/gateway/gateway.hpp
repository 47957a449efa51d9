// The gateway: a process of its own that gives one VM user-mode networking and follows its replicas from failover to
// failover. Replicas connect with the protocol of gateway_protocol.hpp. The one with the highest rank is the guest's
// voice: a hello of higher (or, from a replica that reconnects, equal) rank deposes whoever spoke before, a lower one
// is refused, also for a while after the voice is gone. The host's connections belong to the gateway and outlive the
// replicas; frames for the guest wait in a GuestQueue.
//
// One thread, one poll loop: a frame costs no hop between threads, and what has gathered goes out in one write.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/tls/context.hpp"
#include "common/units.hpp"
#include "hypervisor/gateway/user_network.hpp"

namespace understudy::network {

struct GatewayConfig {
    std::vector<std::string> listen;  // endpoints for replicas: unix:PATH or HOST:PORT
    // A gateway's credentials, for replicas that come by TCP: they show a host's, for their VM. Null: plain text, and
    // all of `listen` is on this machine. Who may connect to a Unix socket is for its file's permissions to say.
    std::shared_ptr<tls::Context> tls{};
    UserNetworkConfig network;
    VmId vm;  // serve this VM only; empty: the VM of the first replica that the guest is heard from
    // How long after the voice's end a lower rank is still refused.
    std::chrono::milliseconds rank_memory{10'000};
    std::string capture{};  // where the frames of the guest are kept (capture.hpp); empty: nowhere
};

// What happens in a gateway's life, for the user's log.
struct GatewayEvent {
    enum class Kind : std::uint8_t {
        listening,    // `detail` is the endpoint
        standing_by,  // a replica may come to be the voice
        attached,     // a replica is the voice now; `frames` wait for it, most of them for the second time
        detached,     // it is no more; `detail` says why
        refused,      // a connection was turned away; `detail` says why
    };
    Kind kind = Kind::listening;
    VmId vm;
    SpeakerRank rank;
    std::string detail;
    std::size_t frames = 0;
};

class Gateway {
  public:
    using Observer = std::function<void(const GatewayEvent&)>;

    // Opens all sockets. Throws understudy::Error when a port is in use or an endpoint is malformed.
    Gateway(GatewayConfig config, Observer observer);
    ~Gateway();
    Gateway(const Gateway&) = delete;
    Gateway& operator=(const Gateway&) = delete;

    // Serves until `stop_fd` becomes readable. Throws understudy::Error when the kernel fails poll().
    void run(int stop_fd);

  private:
    class Server;
    std::unique_ptr<Server> server_;
};

}  // namespace understudy::network
