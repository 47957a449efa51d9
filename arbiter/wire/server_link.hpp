// One attempt to reach an arbiter server, and the connection that comes of it: looks its name up, connects, checks
// under TLS whose certificate it has, says Hello and awaits the Welcome. The dialling side of protocol.hpp, for
// clients, operators and peers alike.
//
// How long an attempt may take is its owner's business: it ends the link when it loses patience. Lives on one
// io_context's thread, and so do its handlers.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "arbiter/wire/protocol.hpp"
#include "common/address.hpp"
#include "common/tls/context.hpp"

namespace boost::asio {
class io_context;
}

namespace understudy::arbiter {

class ServerLink {
  public:
    struct Options {
        Hello hello;
        raft::NodeId expected = 0;          // the server that must answer there; 0: any of the cluster
        std::chrono::milliseconds give_up;  // data that is not acknowledged for so long breaks the connection
        std::size_t max_buffered = 0;       // in bytes, see send()
    };
    // None is called before the constructor returns, and none after the destructor has begun; one may destroy the link.
    struct Handlers {
        std::function<void(const Welcome&)> on_welcome;
        std::function<bool(WireMessage)> on_message;            // after the Welcome; false: it is out of place, close
        std::function<void(const std::string& why)> on_closed;  // not reached, refused or broken; the last call
    };

    // `tls` is null for plain text; `io` outlives the link.
    ServerLink(boost::asio::io_context& io, std::shared_ptr<tls::Context> tls, const Address& server, Options options,
               Handlers handlers);
    ~ServerLink();
    ServerLink(const ServerLink&) = delete;
    ServerLink& operator=(const ServerLink&) = delete;

    // After the Welcome. False, and nothing is sent, when the link is closed, or the other side takes its data so
    // slowly that more than `max_buffered` bytes wait.
    bool send(const WireMessage& message);
    // The server's name was found: what went wrong, if anything did, went wrong later.
    [[nodiscard]] bool resolved() const;
    // TCP is connected: what is not there yet is the server's answer.
    [[nodiscard]] bool connected() const;

  private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace understudy::arbiter
