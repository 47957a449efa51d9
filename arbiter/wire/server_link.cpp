#include "arbiter/wire/server_link.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "arbiter/wire/connection.hpp"

namespace understudy::arbiter {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// Kept alive by the operation under way, so that its owner may end it from within a handler.
class ServerLink::Impl : public std::enable_shared_from_this<Impl> {
  public:
    Impl(asio::io_context& io, std::shared_ptr<tls::Context> tls, Options options, Handlers handlers)
        : io_(io),
          tls_(std::move(tls)),
          options_(std::move(options)),
          handlers_(std::move(handlers)),
          resolver_(io),
          socket_(io) {}

    void dial(const Address& server) {
        resolver_.async_resolve(
            server.host, std::to_string(server.port),
            [self = shared_from_this()](error_code error, const tcp::resolver::results_type& found) {
                if (error) {
                    self->closed(error.message());
                } else if (!self->closed_) {
                    self->resolved_ = true;
                    self->connect(found);
                }
            });
    }

    bool send(const WireMessage& message) { return welcome_ && !closed_ && connection_->send(message); }
    [[nodiscard]] bool resolved() const { return resolved_; }
    [[nodiscard]] bool connected() const { return connection_ && !closed_; }

    void end() {
        closed_ = true;
        error_code ignored;
        resolver_.cancel();
        socket_.close(ignored);
        if (connection_) {
            connection_->close("done");
        }
        // One of the handlers may be what ends it.
        asio::post(io_, [self = shared_from_this()] { self->handlers_ = {}; });
    }

  private:
    void connect(const tcp::resolver::results_type& found) {
        asio::async_connect(socket_, found, [self = shared_from_this()](error_code error, const tcp::endpoint&) {
            if (error) {
                self->closed(error.message());
            } else if (!self->closed_) {
                self->greet();
            }
        });
    }

    void greet() {
        connection_ = std::make_shared<Connection>(std::move(socket_), tls_, Connection::Side::dialer, options_.give_up,
                                                   options_.max_buffered);
        const std::weak_ptr<Impl> weak = weak_from_this();
        Connection::Handlers handlers;
        handlers.on_ready = [weak] {
            if (const auto self = weak.lock()) {
                self->say_hello();
            }
        };
        handlers.on_message = [weak](WireMessage message) {
            const auto self = weak.lock();
            return self && !self->closed_ && self->take(std::move(message));
        };
        handlers.on_closed = [weak](const std::string& why) {
            if (const auto self = weak.lock()) {
                self->closed(why);
            }
        };
        connection_->start(std::move(handlers));
    }

    void say_hello() {
        const auto& peer = connection_->peer();
        const bool is_server = peer && peer->role == tls::Role::arbiter;
        if (tls_ == nullptr ||
            (is_server && (options_.expected == 0 || peer->name == tls::arbiter_name(options_.expected)))) {
            connection_->send(options_.hello);
        } else if (is_server) {
            connection_->close("the server there has the certificate of '" + peer->name + "'");
        } else {
            connection_->close("the certificate there is not an arbiter's");
        }
    }

    bool take(WireMessage message) {
        if (welcome_) {
            return handlers_.on_message(std::move(message));
        }
        const auto* welcome = std::get_if<Welcome>(&message);
        if (welcome == nullptr) {
            return false;
        }
        if (!welcome->refusal.empty()) {
            connection_->close(welcome->refusal);
        } else if (options_.expected != 0 && welcome->id != options_.expected) {
            connection_->close("another server answers there");
        } else {
            welcome_ = true;
            connection_->admit();
            handlers_.on_welcome(*welcome);
        }
        return true;
    }

    void closed(const std::string& why) {
        if (!std::exchange(closed_, true)) {
            // The owner may end the link in the last call.
            const auto handlers = std::exchange(handlers_, {});
            handlers.on_closed(why);
        }
    }

    asio::io_context& io_;
    std::shared_ptr<tls::Context> tls_;
    Options options_;
    Handlers handlers_;
    tcp::resolver resolver_;
    tcp::socket socket_;
    std::shared_ptr<Connection> connection_;
    bool resolved_ = false;
    bool welcome_ = false;
    bool closed_ = false;
};

ServerLink::ServerLink(asio::io_context& io, std::shared_ptr<tls::Context> tls, const Address& server, Options options,
                       Handlers handlers)
    : impl_(std::make_shared<Impl>(io, std::move(tls), std::move(options), std::move(handlers))) {
    impl_->dial(server);
}
ServerLink::~ServerLink() {
    impl_->end();
}
bool ServerLink::send(const WireMessage& message) {
    return impl_->send(message);
}
bool ServerLink::resolved() const {
    return impl_->resolved();
}
bool ServerLink::connected() const {
    return impl_->connected();
}

}  // namespace understudy::arbiter
