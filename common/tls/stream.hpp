// A TCP connection as an Asio stream, plain or under TLS: what arbiter, logging channel and metrics page read and
// write.
//
// Includes Boost.Asio; drivers alone include it. On one thread, that of the io_context, as the handlers are. It is kept
// alive by its owner, whom the handlers keep alive.
#pragma once

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/tls/context.hpp"

namespace understudy::tls {

class Stream {
  public:
    using Socket = boost::asio::ip::tcp::socket;
    using executor_type = Socket::executor_type;
    using error_code = boost::system::error_code;

    // `socket` is connected. Without a `context`: plain text.
    Stream(Socket socket, std::shared_ptr<Context> context, Side side) : context_(std::move(context)), side_(side) {
        if (context_) {
            tls_.emplace(std::move(socket), context_->asio());
        } else {
            plain_.emplace(std::move(socket));
        }
    }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    [[nodiscard]] bool encrypted() const { return tls_.has_value(); }
    [[nodiscard]] Socket& socket() { return tls_ ? tls_->next_layer() : *plain_; }
    [[nodiscard]] executor_type get_executor() { return socket().get_executor(); }

    // Before anything is read or written. In plain text it is done at once, and the handler called from the io_context.
    // Who is turned away is to hear why: the acceptor's handler learns of it when the dialer has hung up, or close()
    // was called.
    template <typename Handler>
    void async_handshake(Handler handler) {
        if (tls_) {
            tls_->async_handshake(
                side_ == Side::dialer ? boost::asio::ssl::stream_base::client : boost::asio::ssl::stream_base::server,
                [this, handler = std::move(handler)](const error_code& error) mutable {
                    if (error && side_ == Side::acceptor) {
                        error_code ignored;
                        socket().shutdown(Socket::shutdown_send, ignored);
                        await_end(error, std::move(handler));
                    } else {
                        handler(error);
                    }
                });
        } else {
            boost::asio::post(get_executor(), [handler = std::move(handler)]() mutable { handler(error_code()); });
        }
    }
    // Why a handshake failed, in words that help.
    [[nodiscard]] std::string describe(const error_code& error) {
        return tls_ ? handshake_failure(tls_->native_handle(), error) : error.message();
    }
    // Nothing in plain text, and where the peer's certificate says none.
    [[nodiscard]] std::optional<Identity> peer() { return tls_ ? peer_identity(tls_->native_handle()) : std::nullopt; }

    template <typename Buffers, typename Handler>
    void async_read_some(const Buffers& buffers, Handler&& handler) {
        if (tls_) {
            tls_->async_read_some(buffers, std::forward<Handler>(handler));
        } else {
            plain_->async_read_some(buffers, std::forward<Handler>(handler));
        }
    }
    template <typename Buffers, typename Handler>
    void async_write_some(const Buffers& buffers, Handler&& handler) {
        if (tls_) {
            tls_->async_write_some(buffers, std::forward<Handler>(handler));
        } else {
            plain_->async_write_some(buffers, std::forward<Handler>(handler));
        }
    }

    // At once, and without the peer's farewell: messages say themselves where they end.
    void close() {
        error_code ignored;
        socket().shutdown(Socket::shutdown_both, ignored);
        socket().close(ignored);
    }

  private:
    // An end with bytes unread would overtake the alert that was sent.
    template <typename Handler>
    void await_end(const error_code& error, Handler handler) {
        socket().async_read_some(boost::asio::buffer(ignored_), [this, error, handler = std::move(handler)](
                                                                    const error_code& end, std::size_t) mutable {
            if (end) {
                handler(error);
            } else {
                await_end(error, std::move(handler));
            }
        });
    }

    std::shared_ptr<Context> context_;
    std::array<char, 512> ignored_{};
    Side side_;
    std::optional<Socket> plain_;
    std::optional<boost::asio::ssl::stream<Socket>> tls_;
};

// The peer ended the connection, with or without a farewell.
[[nodiscard]] inline bool is_end(const boost::system::error_code& error) {
    return error == boost::asio::error::eof || error == boost::asio::ssl::error::stream_truncated;
}

// One side does not take the other's certificate, or what it speaks: to try again is of no use.
[[nodiscard]] inline bool is_refusal(const boost::system::error_code& error) {
    return error.category() == boost::asio::error::get_ssl_category();
}

}  // namespace understudy::tls
