// echo: sends back what it is sent, over TCP and UDP on one port.
#include <netinet/in.h>
#include <sys/socket.h>

#include <string_view>
#include <vector>

#include "guest/programs/net/options.hpp"
#include "guest/programs/net/serve.hpp"

namespace understudy::programs {
namespace {

constexpr std::size_t kBufferSize = std::size_t{64} << 10;

// Holds at most one buffer of bytes that the client has not taken back, and reads no more until it has.
class EchoConnection final : public Connection {
  public:
    using Connection::Connection;

    void ready(Readiness readiness) override {
        if (readiness.readable && waiting_.empty() && !input_ended_) {
            read();
        }
        while (!waiting_.empty()) {
            const auto result = write_some(socket(), waiting_);
            if (result.status == IoStatus::kFailed) {
                close();
                return;
            }
            if (result.status != IoStatus::kDone) {
                break;
            }
            waiting_.remove_prefix(result.bytes);
        }
        if (input_ended_ && waiting_.empty()) {
            close();
            return;
        }
        watch({.readable = waiting_.empty(), .writable = !waiting_.empty()});
    }

  private:
    void read() {
        if (buffer_.empty()) {
            buffer_.resize(kBufferSize);
        }
        const auto result = read_some(socket(), buffer_);
        input_ended_ = result.status == IoStatus::kEnded || result.status == IoStatus::kFailed;
        waiting_ = {buffer_.data(), result.bytes};
    }

    std::vector<char> buffer_;
    std::string_view waiting_;  // in buffer_
    bool input_ended_ = false;
};

// Datagrams that cannot be sent back at once are lost, as datagrams are.
class EchoDatagrams final : public EventLoop::Handler {
  public:
    EchoDatagrams(EventLoop& loop, std::uint16_t port) : socket_(bind_udp(port)), buffer_(kBufferSize) {
        loop.add(socket_.get(), {.readable = true}, *this);
    }

    void ready(Readiness /*readiness*/) override {
        constexpr int kAtOnce = 64;
        for (int i = 0; i < kAtOnce; ++i) {
            sockaddr_in sender{};
            socklen_t length = sizeof sender;
            auto* address = reinterpret_cast<sockaddr*>(&sender);
            const ssize_t count = ::recvfrom(socket_.get(), buffer_.data(), buffer_.size(), 0, address, &length);
            if (count < 0) {
                return;
            }
            // A datagram of no bytes is answered too.
            ::sendto(socket_.get(), buffer_.data(), static_cast<std::size_t>(count), 0, address, length);
        }
    }

  private:
    FileDescriptor socket_;
    std::vector<char> buffer_;
};

int run(int argc, char** argv) {
    std::uint16_t port = 7007;
    Options options("echo", "sends back what it is sent, over TCP and UDP", "echo --port 7007");
    if (!options.port(port).parse(argc, argv)) {
        return 0;
    }
    EventLoop loop;
    const EchoDatagrams datagrams(loop, port);
    serve<EchoConnection>("echo", loop, port);
}

}  // namespace
}  // namespace understudy::programs

int main(int argc, char** argv) {
    return understudy::programs::run_program("echo", [&] { return understudy::programs::run(argc, argv); });
}
