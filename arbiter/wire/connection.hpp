// One connection that carries messages (protocol.hpp), plain or under TLS. Used by server and client library alike.
//
// Lives on one io_context's thread, and so do its handlers; they are called by the io_context, never from within a
// method of this class. Its own pending operations keep it alive until it is closed.
//
// Includes Boost.Asio for the socket that it is given; only .cpp files include it.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arbiter/wire/protocol.hpp"
#include "common/message_stream.hpp"
#include "common/tls/stream.hpp"

namespace understudy::arbiter {

class Connection : public std::enable_shared_from_this<Connection> {
  public:
    using Side = tls::Side;
    struct Handlers {
        std::function<void()> on_ready;                         // connected; under TLS: and authenticated
        std::function<bool(WireMessage)> on_message;            // false: it is out of place, close
        std::function<void(const std::string& why)> on_closed;  // once, the last call
    };

    // `socket` is connected. `tls` is null for plain text. Data, or a probe, that the other side's TCP does not
    // acknowledge for `give_up` breaks the connection. `max_buffered`, in bytes: see send().
    Connection(boost::asio::ip::tcp::socket socket, std::shared_ptr<tls::Context> tls, Side side,
               std::chrono::milliseconds give_up, std::size_t max_buffered);

    // Once, before anything else.
    void start(Handlers handlers);
    // Queues the message. False, and nothing is sent, when the connection is closed, or the other side takes its data
    // so slowly that more than `max_buffered` bytes wait.
    bool send(const WireMessage& message);
    void close(const std::string& why);
    // The first message was accepted: from now on they may be of any permitted size.
    void admit() { reader_.set_max_message(kMaxMessageBytes); }

    // Once it is ready. Nothing in plain text, and where the other side's certificate says no role.
    [[nodiscard]] const std::optional<tls::Identity>& peer() const { return peer_; }
    // The other side's host and port, for messages.
    [[nodiscard]] std::string remote() const { return remote_; }

  private:
    void ready();
    void read();
    bool take_messages();
    void write();

    std::string remote_;
    tls::Stream stream_;
    std::size_t max_buffered_;
    Handlers handlers_;
    std::optional<tls::Identity> peer_;
    MessageReader reader_{kMaxFirstMessageBytes};
    std::vector<std::byte> output_;   // waits
    std::vector<std::byte> writing_;  // under way
    bool ready_ = false;
    bool closed_ = false;
};

}  // namespace understudy::arbiter
