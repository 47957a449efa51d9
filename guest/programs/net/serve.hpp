// The whole of a simple server: one loop, one port, an object for each client.
#pragma once

#include <cstdint>
#include <cstdio>
#include <utility>

#include "guest/programs/net/connections.hpp"
#include "guest/programs/net/listener.hpp"

namespace understudy::programs {

// Serves each client of TCP port `port` with a ClientConnection, made with `arguments`, for ever. Says on standard
// output that it is ready.
template <typename ClientConnection, typename... Arguments>
[[noreturn]] void serve(const char* name, EventLoop& loop, std::uint16_t port, Arguments&... arguments) {
    ignore_broken_pipes();
    Connections connections(loop);
    const Listener listener(
        loop, port, [&](FileDescriptor socket) { connections.add<ClientConnection>(std::move(socket), arguments...); });
    std::printf("%s: ready on port %u\n", name, unsigned{port});
    std::fflush(stdout);
    while (true) {
        loop.run_once();
        connections.forget_closed();
    }
}

}  // namespace understudy::programs
