#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <list>
#include <set>
#include <utility>

#include "common/error.hpp"
#include "common/name.hpp"
#include "common/tls/pace.hpp"
#include "logging_channel/channel.hpp"
#include "logging_channel/connection_impl.hpp"

namespace understudy::channel {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// Addresses that were named in a warning; beyond this the set starts again.
constexpr std::size_t kMaxNamedAddresses = 256;
// After an accept that failed for want of descriptors.
constexpr std::chrono::milliseconds kAcceptPause(100);

Hello from_message(const wire::Hello& message) {
    return {message.vm(), message.replica(), message.engine(), message.cpu_table_digest(), message.version()};
}

}  // namespace

class Listener::Impl : public std::enable_shared_from_this<Listener::Impl> {
  public:
    Impl(asio::io_context& io, ListenerConfig config, Handlers handlers)
        : config_(std::move(config)), handlers_(std::move(handlers)), acceptor_(io), pause_(io) {
        error_code error;
        const auto address = asio::ip::make_address(config_.address, error);
        if (error) {
            throw Error::format("{} is no IP address to listen on; write one of this host, for example 0.0.0.0",
                                config_.address);
        }
        if (!config_.options.tls && !address.is_loopback()) {
            throw Error::format("plain text is for loopback only, and {} is not: give --tls instead of --insecure",
                                config_.address);
        }
        const tcp::endpoint endpoint(address, config_.port);
        try {
            acceptor_.open(endpoint.protocol());
            acceptor_.set_option(tcp::acceptor::reuse_address(true));
            acceptor_.bind(endpoint);
            acceptor_.listen();
        } catch (const boost::system::system_error& failure) {
            throw Error::format("cannot listen for a backup on {}: {}; choose another port", printable(endpoint),
                                failure.code().message());
        }
    }

    void accept() {
        acceptor_.async_accept([self = shared_from_this()](error_code error, tcp::socket socket) {
            if (!self->acceptor_.is_open()) {
                return;
            }
            if (error) {
                return self->accept_later(kAcceptPause);
            }
            if (self->config_.options.tls && tls::has_left(socket.native_handle())) {
                return self->accept();
            }
            self->greet(std::move(socket));
            self->accept_on();
        });
    }

    void stop() {
        handlers_ = {};
        error_code ignored;
        acceptor_.close(ignored);
        pause_.cancel();
        for (const Greeting& greeting : std::exchange(unauthenticated_, {})) {
            greeting.connection->close();
        }
    }

    [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

  private:
    struct Greeting {
        std::shared_ptr<Connection::Impl> connection;
        tcp::endpoint endpoint;
    };

    void accept_on() {
        const auto now = tls::Pace::Clock::now();
        if (config_.options.tls) {
            pace_.accepted(now);
        }
        if (const auto wait = pace_.wait(now); wait > wait.zero()) {
            accept_later(wait);
        } else {
            accept();
        }
    }

    void accept_later(std::chrono::steady_clock::duration wait) {
        pause_.expires_after(wait);
        pause_.async_wait([self = shared_from_this()](error_code error) {
            if (!error) {
                self->accept();
            }
        });
    }

    void greet(tcp::socket socket) {
        make_room();
        error_code ignored;
        const auto endpoint = socket.remote_endpoint(ignored);
        const auto connection =
            std::make_shared<Connection::Impl>(std::move(socket), Connection::Impl::Side::primary, config_.options);
        const auto place = unauthenticated_.insert(unauthenticated_.end(), {connection, endpoint});
        connection->greet({
            [self = shared_from_this(), place](std::shared_ptr<Connection::Impl> greeted,
                                               const wire::Message& message) {
                const auto from = place->endpoint;
                self->unauthenticated_.erase(place);
                const std::string problem = greeted->objection_to_peer(self->config_.vm);
                self->judge(std::make_unique<Connection>(std::move(greeted)), problem, from, message);
            },
            [self = shared_from_this(), place](const std::string& why) {
                const auto from = place->endpoint;
                self->unauthenticated_.erase(place);
                self->warn(from, why);
            },
        });
    }

    // The one that has said nothing for longest goes: a backup says hello at once, and whoever has said it is not among
    // these any more.
    void make_room() {
        if (unauthenticated_.size() < config_.max_unauthenticated) {
            return;
        }
        const auto silent = std::ranges::min_element(
            unauthenticated_, {}, [](const Greeting& greeting) { return greeting.connection->last_heard(); });
        warn(silent->endpoint, "too many connections that have not greeted");
        const auto connection = std::move(silent->connection);
        unauthenticated_.erase(silent);
        connection->close();
    }

    // What stands between this backup and the VM, in words; empty: nothing.
    [[nodiscard]] std::string objection(const Hello& hello) const {
        if (hello.vm != config_.vm) {
            return fmt::format("the VM here is {}, the backup wants {}", config_.vm,
                               is_name(hello.vm) ? hello.vm : "one whose name is none");
        }
        if (hello.engine != config_.engine) {
            return fmt::format("the guest runs on the engine {} here, the backup would replay it on {}", config_.engine,
                               hello.engine);
        }
        if (hello.cpu_table_digest != config_.cpu_table_digest) {
            return fmt::format(
                "the CPU tables differ ({:016x} here, {:016x} at the backup): run the same understudy with "
                "the same CPU model on both hosts",
                config_.cpu_table_digest, hello.cpu_table_digest);
        }
        if (!is_name(hello.replica)) {
            return fmt::format("the backup calls itself by no name of 1 to {} printable characters", kMaxNameBytes);
        }
        if (hello.replica == config_.replica) {
            return "the backup has no name of its own";
        }
        return {};
    }

    // `stranger`: what stands against the peer's certificate.
    void judge(std::unique_ptr<Connection> candidate, const std::string& stranger, const tcp::endpoint& endpoint,
               const wire::Message& message) {
        if (!message.has_hello()) {
            return warn(endpoint, "it did not say hello");
        }
        Hello hello = from_message(message.hello());
        const std::string problem = stranger.empty() ? objection(hello) : stranger;
        if (!problem.empty()) {
            warn(endpoint, "refused: " + problem);
            return candidate->refuse(problem, Refusal::for_good);
        }
        if (handlers_.on_candidate) {
            handlers_.on_candidate(std::move(candidate), std::move(hello));
        }
    }

    void warn(const tcp::endpoint& endpoint, std::string_view reason) {
        const std::string why = bounded_reason(reason);
        if (named_.size() >= kMaxNamedAddresses) {
            named_.clear();
        }
        if (named_.insert(endpoint.address().to_string() + why).second && handlers_.on_warning) {
            handlers_.on_warning(fmt::format("dropped a connection from {}: {}", printable(endpoint), why));
        }
    }

    ListenerConfig config_;
    Handlers handlers_;
    tcp::acceptor acceptor_;
    asio::steady_timer pause_;
    tls::Pace pace_;
    std::list<Greeting> unauthenticated_;
    std::set<std::string> named_;
};

Listener::Listener(asio::io_context& io, ListenerConfig config, Handlers handlers)
    : impl_(std::make_shared<Impl>(io, std::move(config), std::move(handlers))) {
    impl_->accept();
}
Listener::~Listener() {
    impl_->stop();
}
std::uint16_t Listener::port() const {
    return impl_->port();
}

}  // namespace understudy::channel
