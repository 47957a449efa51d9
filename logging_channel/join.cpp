#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <utility>

#include "common/name.hpp"
#include "logging_channel/channel.hpp"
#include "logging_channel/connection_impl.hpp"
#include "logging_channel/guest_shape_codec.hpp"

namespace understudy::channel {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

wire::Message to_message(const Hello& hello) {
    wire::Message message;
    message.mutable_hello()->set_vm(hello.vm);
    message.mutable_hello()->set_replica(hello.replica);
    message.mutable_hello()->set_engine(hello.engine);
    message.mutable_hello()->set_cpu_table_digest(hello.cpu_table_digest);
    message.mutable_hello()->set_version(hello.version);
    return message;
}

std::optional<Welcome> from_message(const wire::Welcome& message) {
    auto guest = read_guest_shape(message.guest());
    if (!guest || message.generation() == 0 || !is_name(message.replica())) {
        return std::nullopt;
    }
    return Welcome{message.replica(), {message.generation()}, std::move(*guest)};
}

// One attempt to join: resolve, connect, greet, each within the one deadline.
class Attempt : public std::enable_shared_from_this<Attempt> {
  public:
    Attempt(asio::io_context& io, std::string where, Hello hello, const ChannelOptions& options,
            std::function<void(JoinResult)> done)
        : where_(std::move(where)),
          hello_(std::move(hello)),
          options_(options),
          done_(std::move(done)),
          resolver_(io),
          socket_(io),
          deadline_(io) {}

    void run(const std::string& host, std::uint16_t port, std::chrono::milliseconds timeout) {
        deadline_.expires_after(timeout);
        deadline_.async_wait([self = shared_from_this()](error_code error) {
            if (!error) {
                self->fail("no answer in time");
            }
        });
        resolver_.async_resolve(
            host, std::to_string(port),
            [self = shared_from_this()](error_code error, const tcp::resolver::results_type& found) {
                if (error) {
                    return self->fail(error.message());
                }
                self->connect(found);
            });
    }

  private:
    void connect(const tcp::resolver::results_type& found) {
        asio::async_connect(socket_, found,
                            [self = shared_from_this()](error_code error, const tcp::endpoint& /*peer*/) {
                                if (error) {
                                    return self->fail(error.message());
                                }
                                self->greet();
                            });
    }

    void greet() {
        if (!done_) {
            return;
        }
        error_code error;
        const auto peer = socket_.remote_endpoint(error);
        if (!options_.tls && !error && !peer.address().is_loopback()) {
            return finish(JoinFailure{true, fmt::format("plain text is for loopback only, and {} is not: give --tls "
                                                        "instead of --insecure",
                                                        where_)});
        }
        connection_ = std::make_shared<Connection::Impl>(std::move(socket_), Connection::Impl::Side::backup, options_);
        connection_->send_preamble();
        connection_->send(to_message(hello_));
        connection_->flush();
        // The deadline's handler keeps this attempt; the connection, which it owns, must not.
        const auto if_alive = [weak = weak_from_this()](auto what) {
            if (const auto self = weak.lock()) {
                what(*self);
            }
        };
        connection_->greet(
            {[if_alive](const auto& /*connection*/, const wire::Message& message) {
                 if_alive([&](Attempt& attempt) { attempt.judge(message); });
             },
             [if_alive](const std::string& why) { if_alive([&](Attempt& attempt) { attempt.fail(why); }); }});
    }

    void judge(const wire::Message& message) {
        if (const std::string problem = connection_->objection_to_peer(hello_.vm); !problem.empty()) {
            return finish(JoinFailure{true, fmt::format("cannot join the primary at {}: {}", where_, problem)});
        }
        if (message.has_refuse()) {
            return finish(JoinFailure{!message.refuse().for_now(),
                                      fmt::format("the primary at {} refused this backup: {}", where_,
                                                  bounded_reason(message.refuse().reason()))});
        }
        if (!message.has_welcome()) {
            return fail("it answered something else than a welcome");
        }
        std::optional<Welcome> welcome = from_message(message.welcome());
        if (!welcome) {
            return fail("its welcome makes no sense");
        }
        Joined joined;
        joined.connection = std::make_unique<Connection>(std::move(connection_));
        joined.welcome = std::move(*welcome);
        finish(std::move(joined));
    }

    void fail(const std::string& why) {
        const bool for_good = connection_ && connection_->unfit();
        finish(JoinFailure{for_good, fmt::format("cannot join the primary at {}: {}", where_, why)});
    }

    void finish(JoinResult result) {
        if (!done_) {
            return;
        }
        const auto done = std::exchange(done_, nullptr);
        deadline_.cancel();
        resolver_.cancel();
        error_code ignored;
        socket_.close(ignored);
        if (connection_) {
            std::exchange(connection_, nullptr)->close();
        }
        done(std::move(result));
    }

    std::string where_;
    Hello hello_;
    ChannelOptions options_;
    std::function<void(JoinResult)> done_;
    tcp::resolver resolver_;
    tcp::socket socket_;
    asio::steady_timer deadline_;
    std::shared_ptr<Connection::Impl> connection_;
};

}  // namespace

void join(asio::io_context& io, const std::string& host, std::uint16_t port, const Hello& hello,
          std::chrono::milliseconds timeout, const ChannelOptions& options, std::function<void(JoinResult)> done) {
    ChannelOptions patient = options;
    patient.handshake = timeout;  // the attempt's own deadline comes first
    std::make_shared<Attempt>(io, fmt::format("{}:{}", host, port), hello, patient, std::move(done))
        ->run(host, port, timeout);
}

}  // namespace understudy::channel
