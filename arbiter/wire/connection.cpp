#include "arbiter/wire/connection.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <span>
#include <utility>

#include "common/address.hpp"
#include "common/bytes.hpp"
#include "common/tcp.hpp"

namespace understudy::arbiter {
namespace asio = boost::asio;
using boost::system::error_code;

namespace {

// Of a socket, before it becomes a stream.
std::string remote_of(const asio::ip::tcp::socket& socket) {
    error_code error;
    const auto endpoint = socket.remote_endpoint(error);
    return error ? std::string() : Address{endpoint.address().to_string(), endpoint.port()}.text();
}

}  // namespace

Connection::Connection(asio::ip::tcp::socket socket, std::shared_ptr<tls::Context> tls, Side side,
                       std::chrono::milliseconds give_up, std::size_t max_buffered)
    : remote_(remote_of(socket)), stream_(std::move(socket), std::move(tls), side), max_buffered_(max_buffered) {
    tune_tcp(stream_.socket().native_handle(), give_up);
}

void Connection::start(Handlers handlers) {
    handlers_ = std::move(handlers);
    stream_.async_handshake([self = shared_from_this()](error_code error) {
        if (error) {
            self->close(self->stream_.describe(error));
            return;
        }
        self->peer_ = self->stream_.peer();
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
    stream_.async_read_some(space, [self = shared_from_this()](error_code error, std::size_t bytes) {
        if (error) {
            self->close(tls::is_end(error) ? "closed by the other side" : error.message());
            return;
        }
        self->reader_.received(bytes);
        if (self->take_messages()) {
            self->read();
        }
    });
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
    asio::async_write(stream_, asio::buffer(writing_),
                      [self = shared_from_this()](error_code error, std::size_t /*bytes*/) {
                          self->writing_.clear();
                          if (error) {
                              self->close(error.message());
                          } else if (!self->output_.empty() && !self->closed_) {
                              self->write();
                          }
                      });
}

void Connection::close(const std::string& why) {
    if (closed_) {
        return;
    }
    closed_ = true;
    stream_.close();
    asio::post(stream_.get_executor(), [self = shared_from_this(), why] {
        // The handlers may own this connection: they end with it.
        const auto handlers = std::exchange(self->handlers_, {});
        if (handlers.on_closed) {
            handlers.on_closed(why);
        }
    });
}

}  // namespace understudy::arbiter
