#include "arbiter/server/server.hpp"

#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <exception>
#include <functional>
#include <map>
#include <utility>

#include "arbiter/server/listener.hpp"
#include "arbiter/server/metrics.hpp"
#include "arbiter/server/metrics_endpoint.hpp"
#include "arbiter/server/peer_links.hpp"
#include "arbiter/server/permissions.hpp"
#include "arbiter/wire/connection.hpp"
#include "common/descriptor_limit.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kLongestSleep{100};
// While this server was itself not scheduled it does not hold the silence of others against them: of the time by which
// it was late, this much counts.
constexpr milliseconds kMostLateness{15};
constexpr milliseconds kClientGiveUp{10'000};
constexpr milliseconds kHelloPatience{2000};
constexpr milliseconds kResignPatience{1000};
constexpr std::size_t kClientBuffer = std::size_t{8} << 20U;
constexpr int kEventsPerTurn = 512;
constexpr std::size_t kMostNewcomers = 64;
constexpr std::size_t kMostPeers = 2 * raft::kMaxMembers;

struct ConnectionBudget {
    std::size_t newcomers;  // have not said hello
    std::size_t clients;
};

ConnectionBudget budget_of(std::size_t descriptors, std::size_t most) {
    const auto all = std::min(most, descriptors - std::min(kReservedDescriptors, descriptors / 2));
    const auto newcomers = std::min(kMostNewcomers, std::max<std::size_t>(1, all / 4));
    return {newcomers, all - std::min(all, newcomers)};
}

}  // namespace

class Server::Impl {
  public:
    explicit Impl(ServerOptions options)
        : options_(std::move(options)),
          budget_(budget_of(descriptor_limit(), options_.max_connections)),
          directory_(open_directory(options_.data)),
          ports_(
              io_, options_, [this](tcp::socket socket) { accepted(std::move(socket)); },
              [this] {
                  counts_.peers = peers_.established();
                  return prometheus_text(core_, counts_);
              }),
          core_(options_.core, *directory_, raft::Time{0}),
          tick_timer_(io_),
          resign_timer_(io_),
          peers_(io_, options_.tls,
                 {.kind = Hello::Kind::peer,
                  .id = core_.node().id(),
                  .cluster = options_.cluster,
                  .incarnation = core_.incarnation(),
                  .founders = core_.founders()},
                 {.admit = [this](raft::NodeId peer, std::uint64_t incarnation) { return met(peer, incarnation); },
                  .on_message =
                      [this](raft::Message message) {
                          pass_time();
                          core_.receive(std::move(message));
                      }}) {}
    ~Impl() { snapshot_thread_.join(); }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    [[nodiscard]] std::uint16_t port() const { return ports_.listener.port(); }
    [[nodiscard]] std::uint16_t metrics_port() const {
        return ports_.metrics ? ports_.metrics->port() : std::uint16_t{0};
    }
    [[nodiscard]] const Storage& storage() const { return core_.storage(); }
    [[nodiscard]] const raft::Configuration& configuration() const { return core_.node().configuration(); }

    void run() {
        time_seen_ = Clock::now();
        if (!core_.takes_part()) {
            spdlog::info("waits for all servers of the new cluster");
        }
        while (!stopped_) {
            peers_.follow(core_.node().configuration());
            arm_tick();
            io_.run_one();
            for (int i = 0; i < kEventsPerTurn && io_.poll_one() > 0; ++i) {
            }
            commit_turn();
            if (failure_) {
                std::rethrow_exception(failure_);
            }
        }
        for (const auto& [number, client] : clients_) {
            client->close("the server stops");
        }
    }

    void stop() {
        asio::post(io_, [this] {
            if (core_.resign()) {
                resigning_ = true;
                resign_timer_.expires_after(kResignPatience);
                resign_timer_.async_wait([this](error_code /*error*/) { stopped_ = true; });
            } else {
                stopped_ = true;
            }
        });
    }

  private:
    // Where this server is reached. Opened before anything is written: a first start that comes to nothing for want of
    // a port was none, and may be tried again.
    struct Ports {
        Ports(asio::io_context& io, const ServerOptions& options, std::function<void(tcp::socket)> take,
              std::function<std::string()> page)
            : listener(io, options.listen, options.tls != nullptr, "--listen", std::move(take)) {
            if (!options.tls && !listener.on_loopback()) {
                throw Error::format("plain text is for loopback only, and {} is not; give --tls instead of --insecure",
                                    options.listen.text());
            }
            if (options.metrics) {
                metrics.emplace(io, *options.metrics, options.tls, std::move(page));
            }
        }
        Listener listener;
        std::optional<MetricsEndpoint> metrics;
    };
    // A connection that somebody made to this server.
    struct DialledIn {
        DialledIn(asio::io_context& io, std::uint64_t n) : number(n), patience(io, kHelloPatience) {}
        const std::uint64_t number;
        asio::steady_timer patience;
        std::optional<Hello> hello;  // once it is admitted
    };

    // -- one turn: everything that arrived is handled; make it durable and answer

    void commit_turn() {
        dispatch(core_.begin());
        while (core_.write_pending()) {
            const auto before = Clock::now();
            core_.write();
            auto outgoing = core_.complete();
            counts_.sync_microseconds += static_cast<std::uint64_t>(
                std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - before).count());
            dispatch(std::move(outgoing));
        }
        if (auto snapshot = core_.take_snapshot_to_write()) {
            asio::post(snapshot_thread_, [this, snapshot] {
                std::exception_ptr failure;
                try {
                    write_snapshot(*directory_, *snapshot);
                } catch (const Error&) {
                    failure = std::current_exception();
                }
                asio::post(io_, [this, snapshot, failure] {
                    if (failure) {
                        failure_ = failure;
                    } else {
                        core_.snapshot_written(snapshot);
                    }
                });
            });
        }
        if (resigning_ && core_.node().role() != raft::Role::leader) {
            stopped_ = true;
        }
    }

    void dispatch(Outgoing outgoing) {
        for (auto& message : outgoing.messages) {
            const auto caller = callers_.find(message.to);
            if (peers_.lead_to(message.to)) {
                peers_.send(std::move(message));
            } else if (caller != callers_.end()) {
                caller->second->send(std::move(message));  // a server that joins does not know its peers' addresses yet
            }
        }
        for (auto& [number, reply] : outgoing.replies) {
            const auto it = clients_.find(number);
            if (it != clients_.end() && !it->second->send(std::move(reply))) {
                it->second->close("reads its replies too slowly");
            }
        }
    }

    // Before every event: lets the core's time pass.
    void pass_time() {
        const auto now = Clock::now();
        const auto passed = std::min<Clock::duration>(now - time_seen_, kLongestSleep + kMostLateness);
        time_seen_ = now;
        awake_ += std::chrono::duration_cast<raft::Time>(passed);
        core_.tick(awake_);
    }

    // After every turn: what happened may have brought forward when there is something to do.
    void arm_tick() {
        const auto due = std::clamp<Clock::duration>(core_.node().next_due() - awake_, milliseconds(0), kLongestSleep);
        if (tick_armed_ && time_seen_ + due >= tick_timer_.expiry()) {
            return;
        }
        tick_armed_ = true;
        tick_timer_.expires_at(time_seen_ + due);
        tick_timer_.async_wait([this](error_code error) {
            if (!error) {
                tick_armed_ = false;
                pass_time();
            }
        });
    }

    // -- incoming connections

    void accepted(tcp::socket socket) {
        make_room();
        const auto caller = std::make_shared<DialledIn>(io_, next_connection_++);
        const auto connection = std::make_shared<Connection>(std::move(socket), options_.tls,
                                                             Connection::Side::acceptor, kClientGiveUp, kClientBuffer);
        caller->patience.async_wait([connection, caller](error_code error) {
            if (!error && !caller->hello) {
                connection->close("said nothing");
            }
        });
        Connection::Handlers handlers;
        handlers.on_message = [this, caller, weak = std::weak_ptr(connection)](WireMessage message) {
            const auto self = weak.lock();
            return self && (caller->hello ? serve(*caller, *self, std::move(message)) : admit(*caller, self, message));
        };
        handlers.on_closed = [this, caller, weak = std::weak_ptr(connection)](const std::string& why) {
            gone(*caller, weak.lock(), why);
        };
        newcomers_.emplace(caller->number, connection);
        connection->start(std::move(handlers));
    }

    // Who is somebody says hello at once: of those who have not, the longest silent goes.
    void make_room() {
        if (newcomers_.size() >= budget_.newcomers) {
            const auto oldest = newcomers_.begin();
            const auto connection = std::move(oldest->second);
            newcomers_.erase(oldest);
            connection->close("said nothing, and others came");
        }
    }

    // This peer has welcomed this server.
    bool met(raft::NodeId peer, std::uint64_t incarnation) {
        const bool took_part = core_.takes_part();
        core_.admitted_by(peer);
        if (core_.takes_part() && !took_part) {
            spdlog::info("all servers of the new cluster have met");
        }
        return core_.admits(peer, incarnation);
    }

    bool admit(DialledIn& caller, const std::shared_ptr<Connection>& connection, const WireMessage& message) {
        const auto* hello = std::get_if<Hello>(&message);
        if (hello == nullptr) {
            return false;
        }
        const auto refusal = refuse(*hello, *connection);
        connection->send(Welcome{core_.node().id(), refusal, core_.incarnation()});
        if (!refusal.empty()) {
            spdlog::warn("refused {}: {}", connection->remote(), refusal);
            return false;
        }
        caller.hello = *hello;
        caller.patience.cancel();
        newcomers_.erase(caller.number);
        connection->admit();
        if (hello->kind == Hello::Kind::client) {
            clients_.emplace(caller.number, connection);
            counts_.clients = clients_.size();
        } else {
            const auto before = std::exchange(callers_[hello->id], connection);
            if (before) {
                before->close("the same server has come again");
            }
        }
        return true;
    }

    void gone(DialledIn& caller, const std::shared_ptr<Connection>& connection, const std::string& why) {
        caller.patience.cancel();
        newcomers_.erase(caller.number);
        clients_.erase(caller.number);
        counts_.clients = clients_.size();
        if (!caller.hello) {
            ++counts_.refused;
            spdlog::debug("{} was not admitted: {}", connection->remote(), why);
        } else if (caller.hello->kind == Hello::Kind::peer) {
            const auto it = callers_.find(caller.hello->id);
            if (it != callers_.end() && it->second == connection) {
                callers_.erase(it);
            }
            pass_time();
            core_.peer_lost(caller.hello->id);
        }
    }

    [[nodiscard]] std::string refuse(const Hello& hello, const Connection& connection) {
        if (hello.version != kProtocolVersion) {
            return fmt::format("protocol version {} is not this server's {}", hello.version, kProtocolVersion);
        }
        if (hello.kind == Hello::Kind::client && clients_.size() >= budget_.clients) {
            return "this server has no room for another client";
        }
        if (hello.kind == Hello::Kind::peer && callers_.size() >= kMostPeers && !callers_.contains(hello.id)) {
            return "this server has no room for another peer";
        }
        if (hello.cluster != options_.cluster) {
            return fmt::format("this server belongs to cluster '{}'", options_.cluster);
        }
        if (options_.tls) {
            if (std::string objection = objection_to(connection.peer(), hello); !objection.empty()) {
                return objection;
            }
        }
        if (hello.kind == Hello::Kind::peer && !core_.has_founders(hello.founders)) {
            return fmt::format(
                "server {} began with a list of servers other than this one's: start every server of a new cluster "
                "with the same --peer, those that were not in an empty directory",
                hello.id);
        }
        if (hello.kind == Hello::Kind::peer && !core_.admits(hello.id, hello.incarnation)) {
            return fmt::format("server {} was here before: {}", hello.id, kOtherIncarnation);
        }
        return {};
    }

    bool serve(const DialledIn& caller, Connection& connection, WireMessage message) {
        if (auto* from_peer = std::get_if<raft::Message>(&message)) {
            if (caller.hello->kind != Hello::Kind::peer || from_peer->from != caller.hello->id) {
                return false;
            }
            pass_time();
            core_.receive(std::move(*from_peer));
            return true;
        }
        auto* request = std::get_if<Request>(&message);
        if (request == nullptr || caller.hello->kind != Hello::Kind::client) {
            return false;
        }
        if (options_.tls) {
            if (auto refusal = refusal_of(*connection.peer(), *request)) {
                connection.send(std::move(*refusal));
                return true;
            }
        }
        pass_time();
        core_.request(caller.number, std::move(*request));
        return true;
    }

    ServerOptions options_;
    ConnectionBudget budget_;
    asio::io_context io_;
    std::unique_ptr<Directory> directory_;
    Ports ports_;
    ServerCore core_;
    asio::steady_timer tick_timer_;
    asio::steady_timer resign_timer_;
    asio::thread_pool snapshot_thread_{1};
    PeerLinks peers_;
    std::unordered_map<raft::NodeId, std::shared_ptr<Connection>> callers_;  // peers that dialled this server
    std::unordered_map<std::uint64_t, std::shared_ptr<Connection>> clients_;
    std::map<std::uint64_t, std::shared_ptr<Connection>> newcomers_;  // have not said hello; the oldest first
    std::uint64_t next_connection_ = 1;
    ConnectionCounts counts_;
    Clock::time_point time_seen_;
    bool tick_armed_ = false;
    raft::Time awake_{0};
    std::exception_ptr failure_;
    bool resigning_ = false;
    bool stopped_ = false;
};

Server::Server(ServerOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Server::~Server() = default;
std::uint16_t Server::port() const {
    return impl_->port();
}
std::uint16_t Server::metrics_port() const {
    return impl_->metrics_port();
}
std::uint64_t Server::torn_bytes() const {
    return impl_->storage().torn_bytes();
}
bool Server::was_empty() const {
    return impl_->storage().was_empty();
}
const raft::Configuration& Server::configuration() const {
    return impl_->configuration();
}
void Server::run() {
    impl_->run();
}
void Server::stop() {
    impl_->stop();
}

}  // namespace understudy::arbiter
