#include "arbiter/server/peer_links.hpp"

#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <optional>
#include <utility>

#include "arbiter/wire/dial_patience.hpp"
#include "arbiter/wire/server_link.hpp"
#include "common/address.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {
namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kRedial{50};
constexpr milliseconds kDialPatience{500};
constexpr milliseconds kLongestPatience{8000};  // more than any client's: a peer has nobody else to turn to
constexpr milliseconds kPeerGiveUp{1000};
constexpr std::size_t kPeerBuffer = std::size_t{16} << 20U;

}  // namespace

struct PeerLinks::Link {
    Link(asio::io_context& io, std::uint64_t seed) : timer(io), patience(kDialPatience, kLongestPatience, seed) {}
    std::string address;
    asio::steady_timer timer;
    DialPatience patience;
    std::chrono::steady_clock::time_point dialled;
    std::optional<ServerLink> server;
    bool welcome = false;
    std::string last_complaint;
};

PeerLinks::PeerLinks(asio::io_context& io, std::shared_ptr<tls::Context> tls, Hello hello, Handlers handlers)
    : io_(io), tls_(std::move(tls)), hello_(std::move(hello)), handlers_(std::move(handlers)) {}

// A link that waits for its timer is kept by what waits.
PeerLinks::~PeerLinks() {
    for (const auto& [id, link] : links_) {
        link->timer.cancel();
        link->server.reset();
    }
}

void PeerLinks::follow(const raft::Configuration& configuration) {
    const auto& members = configuration.members;
    for (auto it = links_.begin(); it != links_.end();) {
        const auto member = members.find(it->first);
        if (member == members.end() || member->second.address != it->second->address) {
            hang_up(it->first, *it->second, "no longer a member");
            it = links_.erase(it);
        } else {
            ++it;
        }
    }
    for (const auto& [id, member] : members) {
        if (id != hello_.id && !links_.contains(id)) {
            auto link = std::make_shared<Link>(io_, hello_.incarnation + id);
            link->address = member.address;
            links_.emplace(id, link);
            dial(id, link);
        }
    }
}

void PeerLinks::send(raft::Message message) {
    const auto it = links_.find(message.to);
    if (it != links_.end() && it->second->welcome) {
        it->second->server->send(std::move(message));
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
    link->dialled = std::chrono::steady_clock::now();
    await(id, link, link->patience.limit(false));
    // The handlers end with the link, so the link is there whenever one is called. None keeps it: it owns them.
    ServerLink::Handlers handlers;
    handlers.on_welcome = [this, id](const Welcome& welcome) {
        const LinkPointer& own = links_.at(id);
        if (!handlers_.admit(id, welcome.incarnation)) {
            refuse(id, own);
            return;
        }
        Link& to = *own;
        to.welcome = true;
        to.patience.welcomed();
        to.last_complaint.clear();
        to.timer.cancel();
        ++established_;
        spdlog::debug("connected to server {} at {}", id, to.address);
    };
    handlers.on_message = [this, id](WireMessage message) {
        auto* answer = std::get_if<raft::Message>(&message);
        if (answer == nullptr || answer->from != id) {
            return false;
        }
        handlers_.on_message(std::move(*answer));
        return true;
    };
    handlers.on_closed = [this, id](const std::string& why) { closed(id, links_.at(id), why); };
    link->server.emplace(io_, tls_, address, ServerLink::Options{hello_, id, kPeerGiveUp, kPeerBuffer},
                         std::move(handlers));
}

void PeerLinks::await(raft::NodeId id, const LinkPointer& link, milliseconds patience) {
    link->timer.expires_at(link->dialled + patience);
    link->timer.async_wait([this, id, link, patience](error_code error) {
        if (error || !current(id, link) || link->welcome) {
            return;
        }
        const bool connected = link->server->connected();
        if (const auto limit = link->patience.limit(connected); limit > patience) {
            await(id, link, limit);
            return;
        }
        link->patience.ran_out(connected);
        hang_up(id, *link, "no answer");
        redial(id, link);
    });
}

void PeerLinks::closed(raft::NodeId id, const LinkPointer& link, const std::string& why) {
    if (!link->welcome) {
        complain(id, *link, why);
    }
    if (link->server->resolved()) {
        hang_up(id, *link, why);
        redial(id, link);
    }  // otherwise the timer dials again: a name that is not known now will not be in a moment
}

void PeerLinks::redial(raft::NodeId id, const LinkPointer& link) {
    link->timer.expires_after(kRedial);
    link->timer.async_wait([this, id, link](error_code error) {
        if (!error && current(id, link)) {
            dial(id, link);
        }
    });
}

void PeerLinks::hang_up(raft::NodeId id, Link& link, const std::string& why) {
    link.timer.cancel();
    link.server.reset();
    if (std::exchange(link.welcome, false)) {
        --established_;
        spdlog::info("connection to server {} at {} broke: {}", id, link.address, why);
    }
}

void PeerLinks::refuse(raft::NodeId id, const LinkPointer& link) {
    complain(id, *link, kOtherIncarnation);
    hang_up(id, *link, kOtherIncarnation);
    redial(id, link);
}

void PeerLinks::complain(raft::NodeId id, Link& link, const std::string& what) {
    if (link.last_complaint != what) {  // once, not at every attempt
        link.last_complaint = what;
        spdlog::warn("server {} at {}: {}", id, link.address, what);
    }
}

}  // namespace understudy::arbiter
