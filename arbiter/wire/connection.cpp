#include "arbiter/wire/connection.hpp"

#include <netinet/tcp.h>
#include <openssl/x509.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <span>
#include <utility>

#include "common/address.hpp"
#include "common/bytes.hpp"

namespace understudy::arbiter {
namespace asio = boost::asio;
using boost::system::error_code;

namespace {

std::string common_name(SSL* ssl) {
    X509* certificate = SSL_get_peer_certificate(ssl);
    if (certificate == nullptr) {
        return {};
    }
    std::array<char, 128> name{};
    const int length = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name.data(),
                                                 static_cast<int>(name.size()));
    X509_free(certificate);
    return length > 0 ? std::string(name.data(), static_cast<std::size_t>(length)) : std::string();
}

// No delay for small messages, and an end to waiting for acknowledgements.
void tune(asio::ip::tcp::socket& socket, std::chrono::milliseconds give_up) {
    error_code ignored;
    socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    const auto milliseconds = static_cast<unsigned>(give_up.count());
    ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
}

}  // namespace

Connection::Connection(asio::ip::tcp::socket socket, asio::ssl::context* tls, Side side,
                       std::chrono::milliseconds give_up, std::size_t max_buffered)
    : side_(side), max_buffered_(max_buffered) {
    error_code error;
    const auto endpoint = socket.remote_endpoint(error);
    if (!error) {
        remote_ = Address{endpoint.address().to_string(), endpoint.port()}.text();
    }
    tune(socket, give_up);
    if (tls != nullptr) {
        tls_.emplace(std::move(socket), *tls);
    } else {
        plain_.emplace(std::move(socket));
    }
}

void Connection::start(Handlers handlers) {
    handlers_ = std::move(handlers);
    if (tls_) {
        handshake();
    } else {
        asio::post(plain_->get_executor(), [self = shared_from_this()] { self->ready(); });
    }
}

void Connection::handshake() {
    const auto type = side_ == Side::dialer ? asio::ssl::stream_base::client : asio::ssl::stream_base::server;
    tls_->async_handshake(type, [self = shared_from_this()](error_code error) {
        if (error) {
            self->close("TLS handshake failed: " + error.message());
            return;
        }
        self->peer_name_ = common_name(self->tls_->native_handle());
        self->ready();
    });
}

void Connection::ready() {
    if (closed_) {
        return;
    }
    ready_ = true;
    if (handlers_.on_ready) {
        handlers_.on_ready();
    }
    if (!output_.empty() && writing_.empty()) {
        write();
    }
    read();
}

void Connection::read() {
    if (closed_) {
        return;
    }
    const auto free = reader_.space();
    const auto space = asio::buffer(free.data(), free.size());
    const auto done = [self = shared_from_this()](error_code error, std::size_t bytes) {
        if (error) {
            self->close(error == asio::error::eof ? "closed by the other side" : error.message());
            return;
        }
        self->reader_.received(bytes);
        if (self->take_messages()) {
            self->read();
        }
    };
    if (tls_) {
        tls_->async_read_some(space, done);
    } else {
        plain_->async_read_some(space, done);
    }
}

// Handles every message that is there as a whole; false if that closed the connection.
bool Connection::take_messages() {
    while (!closed_) {
        const auto next = reader_.next();
        if (std::holds_alternative<MessageReader::NeedMore>(next)) {
            break;
        }
        if (const auto* fault = std::get_if<MessageReader::Fault>(&next)) {
            close(std::string(describe(*fault)));
            break;
        }
        auto message = decode_message(as_text(std::get<std::span<const std::byte>>(next)));
        if (!message || !handlers_.on_message(std::move(*message))) {
            close("a message that means nothing here");
        }
    }
    return !closed_;
}

bool Connection::send(const WireMessage& message) {
    if (closed_ || output_.size() > max_buffered_) {
        return false;
    }
    append_message(output_, as_bytes(encode_message(message)));
    if (ready_ && writing_.empty()) {
        write();
    }
    return true;
}

void Connection::write() {
    writing_ = std::exchange(output_, {});
    const auto done = [self = shared_from_this()](error_code error, std::size_t /*bytes*/) {
        self->writing_.clear();
        if (error) {
            self->close(error.message());
        } else if (!self->output_.empty() && !self->closed_) {
            self->write();
        }
    };
    if (tls_) {
        asio::async_write(*tls_, asio::buffer(writing_), done);
    } else {
        asio::async_write(*plain_, asio::buffer(writing_), done);
    }
}

void Connection::close(const std::string& why) {
    if (closed_) {
        return;
    }
    closed_ = true;
    error_code ignored;
    auto& socket = tls_ ? tls_->next_layer() : *plain_;
    socket.shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
    socket.close(ignored);
    asio::post(socket.get_executor(), [self = shared_from_this(), why] {
        // The handlers may own this connection: they end with it.
        const auto handlers = std::exchange(self->handlers_, {});
        if (handlers.on_closed) {
            handlers.on_closed(why);
        }
    });
}

}  // namespace understudy::arbiter
