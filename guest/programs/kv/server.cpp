#include "guest/programs/kv/server.hpp"

#include "guest/programs/kv/connection.hpp"

namespace understudy::kv {
namespace {

constexpr std::size_t kReadAtOnce = std::size_t{64} << 10;

RequestLimits limits_of(const Settings& settings) {
    RequestLimits limits;
    limits.argument_length = settings.max_value;
    limits.request_length = settings.max_value * 2;
    return limits;
}

}  // namespace

Server::Server(const Settings& settings)
    : settings_(settings),
      limits_(limits_of(settings)),
      listener_(loop_, settings.port, [this](programs::FileDescriptor socket) { accept(std::move(socket)); }),
      scratch_(kReadAtOnce) {
    statistics_.started = loop_.now();
    store_.advance(loop_.now());
}

Server::~Server() = default;

void Server::run() {
    while (!shutdown_) {
        loop_.run_once(store_.next_expiry());
        closed_.clear();
        store_.advance(loop_.now());
    }
}

void Server::accept(programs::FileDescriptor socket) {
    ++statistics_.total_connections;
    if (statistics_.connected_clients >= settings_.max_clients) {
        programs::write_some(socket, "-ERR max number of clients reached\r\n");
        return;
    }
    const auto index = static_cast<std::size_t>(socket.get());
    if (connections_.size() <= index) {
        connections_.resize(index + 1);
    }
    connections_[index] = std::make_unique<Connection>(*this, std::move(socket), statistics_.total_connections);
    ++statistics_.connected_clients;
}

void Server::close(Connection& connection) {
    loop_.remove(connection.descriptor());
    closed_.push_back(std::move(connections_[static_cast<std::size_t>(connection.descriptor())]));
    --statistics_.connected_clients;
}

}  // namespace understudy::kv
