#include "tools/demo/relay.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <future>
#include <thread>
#include <vector>

#include "common/address.hpp"
#include "common/error.hpp"

namespace understudy::tools {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

tcp::endpoint parse_endpoint(const std::string& text) {
    const Address target = parse_address(text);
    boost::system::error_code failure;
    const auto host = asio::ip::make_address(target.host, failure);
    if (failure) {
        throw Error::format("'{}' is no numeric address with a port", text);
    }
    return {host, target.port};
}

enum class Mode { forwarding, stalled, cut };

// What the sessions see of their relay, which they may outlive by one handler.
struct Shared {
    Mode mode = Mode::forwarding;
    std::uint64_t bytes_forwarded = 0;
};

// One connection through the relay: each direction reads a buffer, writes it out, reads again.
class Session : public std::enable_shared_from_this<Session> {
  public:
    Session(tcp::socket client, std::shared_ptr<Shared> shared)
        : client_(std::move(client)), server_(client_.get_executor()), shared_(std::move(shared)) {}

    void start(const tcp::endpoint& target) {
        server_.async_connect(target, [self = shared_from_this()](const boost::system::error_code& error) {
            if (error || self->closed_) {
                self->close();
                return;
            }
            boost::system::error_code ignored;
            self->client_.set_option(tcp::no_delay(true), ignored);
            self->server_.set_option(tcp::no_delay(true), ignored);
            self->pump(self->client_, self->server_, self->upstream_);
            self->pump(self->server_, self->client_, self->downstream_);
        });
    }

    void close() {
        closed_ = true;
        boost::system::error_code ignored;
        client_.close(ignored);
        server_.close(ignored);
    }

    [[nodiscard]] bool closed() const { return closed_; }

  private:
    using Buffer = std::array<char, std::size_t{64} << 10U>;

    // In a partition the read is not answered by another, nor by the write of what it brought: the bytes are lost.
    void pump(tcp::socket& from, tcp::socket& to, Buffer& buffer) {
        from.async_read_some(asio::buffer(buffer), [self = shared_from_this(), &from, &to, &buffer](
                                                       const boost::system::error_code& error, std::size_t size) {
            if (self->shared_->mode == Mode::stalled && !self->closed_) {
                return;
            }
            if (error) {
                self->close();
                return;
            }
            self->shared_->bytes_forwarded += size;
            asio::async_write(to, asio::buffer(buffer, size),
                              [self, &from, &to, &buffer](const boost::system::error_code& write_error, std::size_t) {
                                  if (write_error) {
                                      self->close();
                                  } else {
                                      self->pump(from, to, buffer);
                                  }
                              });
        });
    }

    tcp::socket client_;
    tcp::socket server_;
    std::shared_ptr<Shared> shared_;
    bool closed_ = false;
    Buffer upstream_{};
    Buffer downstream_{};
};

}  // namespace

struct Relay::State {
    explicit State(const std::string& the_target)
        : target(parse_endpoint(the_target)), acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0)) {
        port = acceptor.local_endpoint().port();
        accept();
        thread = std::thread([this] { io.run(); });
    }

    ~State() {
        asio::post(io, [this] {
            boost::system::error_code ignored;
            acceptor.close(ignored);
            close_sessions();
        });
        thread.join();  // nothing is left to wait for: run() returns
    }

    void accept() {
        acceptor.async_accept([this](const boost::system::error_code& error, tcp::socket client) {
            if (error) {
                return;
            }
            std::erase_if(sessions, [](const auto& session) { return session->closed(); });
            if (shared->mode != Mode::cut && sessions.size() < kMaxSessions) {
                sessions.push_back(std::make_shared<Session>(std::move(client), shared));
                if (shared->mode == Mode::forwarding) {
                    sessions.back()->start(target);
                }
            }
            accept();
        });
    }

    void close_sessions() {
        for (const auto& session : sessions) {
            session->close();
        }
        sessions.clear();
    }

    // Runs `act` on the relay's thread and returns when it has run.
    template <typename Act>
    void perform(Act act) {
        std::promise<void> done;
        asio::post(io, [&] {
            act();
            done.set_value();
        });
        done.get_future().wait();
    }

    static constexpr std::size_t kMaxSessions = 64;
    asio::io_context io;
    tcp::endpoint target;
    tcp::acceptor acceptor;
    std::uint16_t port = 0;
    const std::shared_ptr<Shared> shared = std::make_shared<Shared>();
    std::vector<std::shared_ptr<Session>> sessions;
    std::thread thread;
};

Relay::Relay(const std::string& target) : state_(std::make_unique<State>(target)) {}

Relay::~Relay() = default;

std::string Relay::address() const {
    return fmt::format("127.0.0.1:{}", state_->port);
}

void Relay::stall() {
    state_->perform([this] { state_->shared->mode = Mode::stalled; });
}

void Relay::cut() {
    state_->perform([this] {
        state_->shared->mode = Mode::cut;
        state_->close_sessions();
    });
}

std::uint64_t Relay::bytes_forwarded() const {
    std::uint64_t bytes = 0;
    state_->perform([&] { bytes = state_->shared->bytes_forwarded; });
    return bytes;
}

}  // namespace understudy::tools
