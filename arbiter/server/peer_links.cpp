#include "arbiter/server/peer_links.hpp"

#include <spdlog/spdlog.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <utility>

#include "arbiter/wire/connection.hpp"
#include "arbiter/wire/credentials.hpp"
#include "common/address.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kRedial{50};
constexpr milliseconds kDialPatience{500};
constexpr milliseconds kPeerGiveUp{1000};
constexpr std::size_t kPeerBuffer = std::size_t{16} << 20U;

}  // namespace

struct PeerLinks::Link {
    explicit Link(asio::io_context& io) : resolver(io), socket(io), timer(io) {}
    std::string address;
    tcp::resolver resolver;
    tcp::socket socket;
    asio::steady_timer timer;
    std::shared_ptr<Connection> connection;
    bool welcome = false;
    std::string last_complaint;
};

PeerLinks::PeerLinks(asio::io_context& io, asio::ssl::context* tls, raft::NodeId self, std::string cluster,
                     std::function<void(raft::Message)> on_message)
    : io_(io), tls_(tls), self_(self), cluster_(std::move(cluster)), on_message_(std::move(on_message)) {}

void PeerLinks::follow(const raft::Configuration& configuration) {
    const auto& members = configuration.members;
    for (auto it = links_.begin(); it != links_.end();) {
        const auto member = members.find(it->first);
        if (member == members.end() || member->second.address != it->second->address) {
            const auto link = it->second;
            it = links_.erase(it);
            hang_up(*link, "no longer a member");
        } else {
            ++it;
        }
    }
    for (const auto& [id, member] : members) {
        if (id != self_ && !links_.contains(id)) {
            auto link = std::make_shared<Link>(io_);
            link->address = member.address;
            links_.emplace(id, link);
            dial(id, link);
        }
    }
}

void PeerLinks::send(raft::Message message) {
    const auto it = links_.find(message.to);
    if (it != links_.end() && it->second->connection && it->second->welcome) {
        it->second->connection->send(std::move(message));
    }
}

bool PeerLinks::current(raft::NodeId id, const LinkPointer& link) const {
    const auto it = links_.find(id);
    return it != links_.end() && it->second == link;
}

void PeerLinks::dial(raft::NodeId id, const LinkPointer& link) {
    Address address;
    try {
        address = parse_address(link->address);
    } catch (const Error& error) {
        complain(id, *link, error.what());
        return;  // a new configuration brings a new address
    }
    link->welcome = false;
    link->timer.expires_after(kDialPatience);
    link->timer.async_wait([this, id, link](error_code error) {
        if (!error && current(id, link) && !link->welcome) {
            hang_up(*link, "no answer");
            redial(id, link);
        }
    });
    link->resolver.async_resolve(address.host, std::to_string(address.port),
                                 [this, id, link](error_code error, const tcp::resolver::results_type& found) {
                                     if (error || !current(id, link)) {
                                         if (error != asio::error::operation_aborted) {
                                             complain(id, *link, error.message());
                                         }
                                         return;  // the timer dials again
                                     }
                                     asio::async_connect(link->socket, found,
                                                         [this, id, link](error_code failed, const tcp::endpoint&) {
                                                             if (!current(id, link)) {
                                                                 return;
                                                             }
                                                             if (failed) {
                                                                 if (failed != asio::error::operation_aborted) {
                                                                     complain(id, *link, failed.message());
                                                                     link->timer.cancel();
                                                                     redial(id, link);
                                                                 }
                                                                 return;
                                                             }
                                                             connected(id, link);
                                                         });
                                 });
}

void PeerLinks::redial(raft::NodeId id, const LinkPointer& link) {
    link->timer.expires_after(kRedial);
    link->timer.async_wait([this, id, link](error_code error) {
        if (!error && current(id, link)) {
            dial(id, link);
        }
    });
}

void PeerLinks::connected(raft::NodeId id, const LinkPointer& link) {
    tune(link->socket, kPeerGiveUp);
    auto connection = std::make_shared<Connection>(std::exchange(link->socket, tcp::socket(io_)), tls_,
                                                   Connection::Side::dialer, kPeerBuffer);
    link->connection = connection;
    Connection::Handlers handlers;
    handlers.on_ready = [this, id, link, weak = std::weak_ptr(connection)] {
        const auto self = weak.lock();
        if (tls_ != nullptr && self && self->peer_name() != server_name(id)) {
            complain(id, *link, "the server there has the certificate of '" + self->peer_name() + "'");
            self->close("wrong certificate");
        } else if (self) {
            self->send(Hello{kProtocolVersion, Hello::Kind::peer, self_, cluster_});
        }
    };
    handlers.on_message = [this, id, link](WireMessage message) {
        if (auto* answer = std::get_if<raft::Message>(&message); answer && link->welcome && answer->from == id) {
            on_message_(std::move(*answer));
            return true;
        }
        const auto* welcome = std::get_if<Welcome>(&message);
        if (welcome == nullptr || link->welcome) {
            return false;
        }
        if (!welcome->refusal.empty() || welcome->id != id) {
            complain(id, *link, welcome->refusal.empty() ? "another server answers there" : welcome->refusal);
            return false;
        }
        link->welcome = true;
        link->connection->admit();
        link->last_complaint.clear();
        link->timer.cancel();
        ++established_;
        spdlog::debug("connected to server {} at {}", id, link->address);
        return true;
    };
    handlers.on_closed = [this, id, link](const std::string& why) {
        if (std::exchange(link->welcome, false)) {
            --established_;
            spdlog::info("connection to server {} at {} broke: {}", id, link->address, why);
        }
        if (current(id, link) && link->connection) {
            link->connection = nullptr;
            link->timer.cancel();
            redial(id, link);
        }
    };
    connection->start(std::move(handlers));
}

void PeerLinks::hang_up(Link& link, const std::string& why) {
    error_code ignored;
    link.resolver.cancel();
    link.timer.cancel();
    link.socket.close(ignored);
    if (link.connection) {
        std::exchange(link.connection, nullptr)->close(why);
    }
}

void PeerLinks::complain(raft::NodeId id, Link& link, const std::string& what) {
    if (link.last_complaint != what) {  // once, not at every attempt
        link.last_complaint = what;
        spdlog::warn("server {} at {}: {}", id, link.address, what);
    }
}

}  // namespace understudy::arbiter
