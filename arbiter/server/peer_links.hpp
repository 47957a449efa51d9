// The connections from one server to each other member of its cluster, for messages in that direction. They are
// dialled, and dialled again when they break, for as long as the configuration names the member.
//
// Lives on one io_context's thread: every method is called there, and so is `on_message`.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "arbiter/raft/message.hpp"
#include "arbiter/raft/types.hpp"
#include "arbiter/wire/protocol.hpp"
#include "common/tls/context.hpp"

namespace boost::asio {
class io_context;
}

namespace understudy::arbiter {

class PeerLinks {
  public:
    // Who dials says `hello`. `tls` is null for plain text; under TLS a peer must have the certificate
    // of the server that the configuration says it is. `on_message` takes what a peer sends back. `io` outlives
    // the links, and does not run any more once they are gone.
    struct Handlers {
        // Whether the peer that answers is the one that it was before; called when it has admitted this server.
        std::function<bool(raft::NodeId peer, std::uint64_t incarnation)> admit;
        std::function<void(raft::Message)> on_message;
    };
    PeerLinks(boost::asio::io_context& io, std::shared_ptr<tls::Context> tls, Hello hello, Handlers handlers);
    ~PeerLinks();
    PeerLinks(const PeerLinks&) = delete;
    PeerLinks& operator=(const PeerLinks&) = delete;

    // Dials whom the configuration has gained, hangs up on whom it has lost, or who has moved. A member that cannot be
    // reached is no error: it is named in a warning, once per reason, and dialled again.
    void follow(const raft::Configuration& configuration);
    // The configuration last followed names this member; it may be connected or not.
    [[nodiscard]] bool lead_to(raft::NodeId id) const { return links_.contains(id); }
    // To `message.to`. What cannot be sent now is lost; Raft repeats what matters.
    void send(raft::Message message);
    // How many members are connected and have welcomed this server.
    [[nodiscard]] std::size_t established() const { return established_; }

  private:
    struct Link;
    using LinkPointer = std::shared_ptr<Link>;

    [[nodiscard]] bool current(raft::NodeId id, const LinkPointer& link) const;
    void dial(raft::NodeId id, const LinkPointer& link);
    void await(raft::NodeId id, const LinkPointer& link, std::chrono::milliseconds patience);
    void redial(raft::NodeId id, const LinkPointer& link);
    void closed(raft::NodeId id, const LinkPointer& link, const std::string& why);
    void hang_up(raft::NodeId id, Link& link, const std::string& why);
    void refuse(raft::NodeId id, const LinkPointer& link);
    static void complain(raft::NodeId id, Link& link, const std::string& what);

    boost::asio::io_context& io_;
    std::shared_ptr<tls::Context> tls_;
    const Hello hello_;
    Handlers handlers_;
    std::map<raft::NodeId, LinkPointer> links_;
    std::size_t established_ = 0;
};

}  // namespace understudy::arbiter
