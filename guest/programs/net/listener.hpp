// Accepts connections and hands each to a function.
#pragma once

#include <functional>

#include "guest/programs/net/event_loop.hpp"
#include "guest/programs/net/socket.hpp"

namespace understudy::programs {

class Listener final : public EventLoop::Handler {
  public:
    using Accepted = std::function<void(FileDescriptor connection)>;

    Listener(EventLoop& loop, std::uint16_t port, Accepted accepted)
        : loop_(loop), socket_(listen_tcp(port)), accepted_(std::move(accepted)) {
        loop_.add(socket_.get(), {.readable = true}, *this);
    }
    ~Listener() override { loop_.remove(socket_.get()); }
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    void ready(Readiness /*readiness*/) override {
        // Bounded, so that a flood of connections leaves time for those that are there.
        constexpr int kAtOnce = 128;
        for (int i = 0; i < kAtOnce; ++i) {
            auto connection = accept_tcp(socket_);
            if (!connection) {
                return;
            }
            accepted_(std::move(*connection));
        }
    }

  private:
    EventLoop& loop_;
    FileDescriptor socket_;
    Accepted accepted_;
};

}  // namespace understudy::programs
