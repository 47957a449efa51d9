#include "tools/demo/relay.hpp"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <deque>
#include <functional>
#include <future>
#include <thread>
#include <utility>
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
    Relay::Line line;
    Mode mode = Mode::forwarding;
    std::uint64_t bytes_forwarded = 0;
};

// One direction of a connection: what comes in waits out the delay and goes on, in order.
class Way {
  public:
    // The sockets outlive it.
    Way(tcp::socket& from, tcp::socket& to, std::shared_ptr<Shared> shared)
        : from_(from), to_(to), timer_(from.get_executor()), shared_(std::move(shared)) {}

    // `session` keeps the object alive; `failed` is called where a socket did, `done` at the end of what comes in.
    void start(std::shared_ptr<void> session, std::function<void()> failed, std::function<void()> done) {
        failed_ = std::move(failed);
        done_ = std::move(done);
        read(std::move(session));
    }

    [[nodiscard]] bool done() const { return ended_ && chunks_.empty(); }

    void close() { timer_.cancel(); }

  private:
    struct Chunk {
        std::chrono::steady_clock::time_point due;
        std::vector<char> bytes;
    };
    static constexpr std::size_t kRead = std::size_t{64} << 10U;
    // As much as a line of a gigabit a second holds in half a second; without a delay, nothing is put aside.
    static constexpr std::size_t kMostDelayed = std::size_t{64} << 20U;

    // In a partition the read is not answered by another, nor by the write of what it brought: the bytes are lost.
    void read(std::shared_ptr<void> session) {
        reading_ = true;
        buffer_.resize(kRead);
        from_.async_read_some(asio::buffer(buffer_), [this, session = std::move(session)](
                                                         const boost::system::error_code& error, std::size_t size) {
            reading_ = false;
            if (shared_->mode == Mode::stalled) {
                return;
            }
            if (error == asio::error::eof) {
                ended_ = true;
                end_if_done();
                return;
            }
            if (error) {
                failed_();
                return;
            }
            shared_->bytes_forwarded += size;
            held_ += size;
            chunks_.push_back({pass(size) + shared_->line.delay,
                               {buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(size)}});
            if (!writing_) {
                write(session);
            }
            read_on(session);
        });
    }

    // When so many bytes more are through the line's narrowest place.
    std::chrono::steady_clock::time_point pass(std::size_t size) {
        const std::uint64_t per_second = shared_->line.per_second.value;
        const std::chrono::nanoseconds takes(per_second == 0 ? 0 : size * std::nano::den / per_second);
        passed_ = std::max(passed_, std::chrono::steady_clock::now()) + takes;
        return passed_;
    }

    void read_on(const std::shared_ptr<void>& session) {
        const std::size_t most = shared_->line.delay.count() > 0 ? kMostDelayed : kRead;
        if (!reading_ && !ended_ && held_ < most) {
            read(session);
        }
    }

    // The other side hears of the end behind all that came before it.
    void end_if_done() {
        if (done()) {
            boost::system::error_code ignored;
            to_.shutdown(tcp::socket::shutdown_send, ignored);
            done_();
        }
    }

    void write(std::shared_ptr<void> session) {
        writing_ = !chunks_.empty() && shared_->mode != Mode::stalled;
        if (!writing_) {
            end_if_done();
            return;
        }
        timer_.expires_at(chunks_.front().due);
        timer_.async_wait([this, session = std::move(session)](const boost::system::error_code& cancelled) {
            if (cancelled) {
                return;
            }
            asio::async_write(to_, asio::buffer(chunks_.front().bytes),
                              [this, session](const boost::system::error_code& error, std::size_t size) {
                                  if (error) {
                                      failed_();
                                      return;
                                  }
                                  held_ -= size;
                                  chunks_.pop_front();
                                  write(session);
                                  read_on(session);
                              });
        });
    }

    tcp::socket& from_;
    tcp::socket& to_;
    asio::steady_timer timer_;
    std::shared_ptr<Shared> shared_;
    std::function<void()> failed_;
    std::function<void()> done_;
    std::vector<char> buffer_;
    std::deque<Chunk> chunks_;
    std::size_t held_ = 0;
    std::chrono::steady_clock::time_point passed_;  // all that was read
    bool reading_ = false;
    bool ended_ = false;
    bool writing_ = false;
};

// One connection through the relay.
class Session : public std::enable_shared_from_this<Session> {
  public:
    Session(tcp::socket client, const std::shared_ptr<Shared>& shared)
        : client_(std::move(client)),
          server_(client_.get_executor()),
          up_(client_, server_, shared),
          down_(server_, client_, shared) {}

    void start(const tcp::endpoint& target) {
        server_.async_connect(target, [self = shared_from_this()](const boost::system::error_code& error) {
            if (error || self->closed_) {
                self->close();
                return;
            }
            boost::system::error_code ignored;
            self->client_.set_option(tcp::no_delay(true), ignored);
            self->server_.set_option(tcp::no_delay(true), ignored);
            const auto failed = [raw = self.get()] { raw->close(); };
            const auto done = [raw = self.get()] {
                if (raw->up_.done() && raw->down_.done()) {
                    raw->close();
                }
            };
            self->up_.start(self, failed, done);
            self->down_.start(self, failed, done);
        });
    }

    void close() {
        closed_ = true;
        boost::system::error_code ignored;
        client_.close(ignored);
        server_.close(ignored);
        up_.close();
        down_.close();
    }

    [[nodiscard]] bool closed() const { return closed_; }

  private:
    tcp::socket client_;
    tcp::socket server_;
    Way up_;
    Way down_;
    bool closed_ = false;
};

}  // namespace

struct Relay::State {
    State(const std::string& the_target, Line line)
        : target(parse_endpoint(the_target)), acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0)) {
        shared->line = line;
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

Relay::Relay(const std::string& target, Line line) : state_(std::make_unique<State>(target, line)) {}

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
