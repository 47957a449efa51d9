// The replica's side of gateway_protocol.hpp.
#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <bit>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/tcp.hpp"
#include "common/tls/polled_socket.hpp"
#include "hypervisor/gateway/endpoint.hpp"
#include "hypervisor/gateway/protocol.hpp"
#include "hypervisor/network/links.hpp"
#include "hypervisor/network/send_queue.hpp"

namespace understudy::network {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr std::size_t kReceiveBuffer = std::size_t{256} << 10;
constexpr std::size_t kMaxReadsPerWakeup = 4;
constexpr std::size_t kPartsPerWrite = 256;
constexpr milliseconds kFirstRetry{1};
constexpr milliseconds kLongestRetry{250};
// A gateway that has turned this replica away is asked again: what it thinks of the others may have been wrong, or may
// have changed. Who was deposed by right learns it from the arbiter and ends itself.
constexpr milliseconds kTurnedAwayRetry{1000};
// For a gateway on another host that vanished without a word.
constexpr milliseconds kGiveUp{5000};
// What stood by for long may have been forgotten on its way (a firewall). Who is not welcomed by then connects anew.
constexpr milliseconds kStaleAfter{50};

// Handlers in flight keep the object alive; close() makes them do nothing.
class Connection : public std::enable_shared_from_this<Connection> {
  public:
    // `tls` is null for plain text.
    Connection(asio::io_context& io, Endpoint endpoint, std::shared_ptr<tls::Context> tls, Hello hello,
               Link::FrameHandler on_frame)
        : io_(io),
          endpoint_(std::move(endpoint)),
          tls_(std::move(tls)),
          hello_(std::move(hello)),
          on_frame_(std::move(on_frame)),
          retry_timer_(io) {}

    void stand_by() {
        standing_by_ = true;
        connect();
    }

    void speak(SpeakerRank rank) {
        hello_.rank = rank;
        if (std::exchange(standing_by_, false) && connected_) {
            speaking_ = true;
            turned_away_ = false;
            complained_ = false;
            retry_after_ = kFirstRetry;
            awaits_welcome_ = true;
            say_hello();
            retry_timer_.expires_after(kStaleAfter);
            retry_timer_.async_wait([self = shared_from_this()](error_code error) {
                if (!error && self->awaits_welcome_) {
                    self->connect_anew();
                }
            });
        } else if (!speaking_ || turned_away_) {
            speaking_ = true;
            turned_away_ = false;
            retry_timer_.cancel();
            retry_after_ = kFirstRetry;
            connect_anew();
        } else if (connected_) {
            say_hello();
        }
    }

    void send(std::span<const Frame> frames) {
        if (!speaking_ || turned_away_) {
            return;
        }
        for (const Frame& frame : frames) {
            if (is_wire_frame_size(frame.size())) {
                queue_.push_frame(frame);
            }
        }
        flush();
    }

    [[nodiscard]] Passage passage() const {
        const Passage frames = queue_.frames();
        return {.given = frames.given, .gone = frames.gone - encrypted_};
    }

    void pause(bool paused) {
        if (std::exchange(paused_, paused) && !paused) {
            // Not from here: the caller may be inside on_frame.
            asio::post(io_, [self = shared_from_this()] { self->deliver(); });
        }
    }

    void close() {
        speaking_ = false;
        standing_by_ = false;
        queue_.clear();
        drop_socket();
        retry_timer_.cancel();
    }

  private:
    using Readiness = asio::posix::stream_descriptor;

    [[nodiscard]] bool is_wanted() const { return speaking_ || standing_by_; }

    // --- connecting ---

    void connect_anew() {
        drop_socket();
        connect();
    }

    void connect() {
        FileDescriptor fd(::socket(endpoint_.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (!fd) {
            retry_later(errno);
            return;
        }
        if (!endpoint_.is_unix()) {
            tune_tcp(fd.get(), kGiveUp);
        }
        const int status = ::connect(fd.get(), std::bit_cast<const sockaddr*>(&endpoint_.address), endpoint_.length);
        if (status != 0 && errno != EINPROGRESS) {
            retry_later(errno);
            return;
        }
        ready_.emplace(io_, fd.get());
        socket_.emplace(std::move(fd), tls_, tls::Side::dialer);
        decoder_.emplace(kReceiveBuffer);
        if (status == 0) {
            shake_hands();
            return;
        }
        wait(Readiness::wait_write, [this] {
            int reason = 0;
            socklen_t size = sizeof reason;
            ::getsockopt(socket_->fd(), SOL_SOCKET, SO_ERROR, &reason, &size);
            if (reason != 0) {
                retry_later(reason);
            } else {
                shake_hands();
            }
        });
    }

    // `then` is called when the socket is ready, unless it is gone by then.
    template <typename Then>
    void wait(Readiness::wait_type what, Then then) {
        ready_->async_wait(what, [self = shared_from_this(), attempt = attempt_, then](error_code error) {
            if (!error && attempt == self->attempt_) {
                then();
            }
        });
    }

    void shake_hands() {
        switch (socket_->handshake()) {
            case tls::PolledSocket::Handshake::done:
                return on_connected();
            case tls::PolledSocket::Handshake::under_way:
                return wait(socket_->has_unsent() ? Readiness::wait_write : Readiness::wait_read,
                            [this] { shake_hands(); });
            case tls::PolledSocket::Handshake::failed:
                return retry_later(socket_->failure());
        }
    }

    void on_connected() {
        if (socket_->encrypted()) {
            if (const auto problem = tls::objection_to(socket_->peer(), tls::Role::gateway, hello_.vm);
                !problem.empty()) {
                return retry_later(problem);
            }
        }
        connected_ = true;
        say_hello();
        wait_readable();
    }

    void say_hello() {
        queue_.push_hello(hello_, speaking_ ? MessageKind::hello : MessageKind::standby);
        flush();
    }

    void retry_later(int reason) { retry_later(std::generic_category().message(reason)); }

    void retry_later(const std::string& reason) {
        if (!std::exchange(complained_, true)) {
            spdlog::warn("cannot reach the gateway {}: {}; trying again", endpoint_.text, reason);
        }
        connect_later();
    }

    void connect_later() {
        drop_socket();
        const auto next = turned_away_ ? kTurnedAwayRetry : std::min(retry_after_ * 2, kLongestRetry);
        retry_timer_.expires_after(std::exchange(retry_after_, next));
        retry_timer_.async_wait([self = shared_from_this(), attempt = attempt_](error_code error) {
            if (!error && attempt == self->attempt_ && self->is_wanted()) {
                self->connect();
            }
        });
    }

    void drop_socket() {
        ++attempt_;
        connected_ = false;
        awaits_welcome_ = false;
        waiting_readable_ = false;
        waiting_writable_ = false;
        encrypted_ = 0;
        queue_.disconnected();
        if (ready_) {
            ready_->release();  // the socket is its owner's to close
            ready_.reset();
        }
        socket_.reset();
    }

    // --- receiving ---

    void wait_readable() {
        if (!connected_ || waiting_readable_ || paused_) {
            return;
        }
        waiting_readable_ = true;
        wait(Readiness::wait_read, [this] {
            waiting_readable_ = false;
            receive();
        });
    }

    void receive() {
        for (std::size_t i = 0; (i < kMaxReadsPerWakeup || socket_->has_more()) && connected_ && !paused_; ++i) {
            const auto space = decoder_->space();
            const ssize_t got = socket_->receive(space);
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
                break;
            }
            if (got <= 0) {
                return lost(got < 0 ? errno : ECONNRESET);
            }
            decoder_->committed(static_cast<std::size_t>(got));
            take_messages();
            if (!connected_ || (static_cast<std::size_t>(got) < space.size() && !socket_->encrypted())) {
                break;  // the socket is empty, or gone
            }
        }
        wait_readable();
    }

    // After a pause: first what had been read already, then the socket.
    void deliver() {
        if (connected_ && !paused_) {
            take_messages();
            if (connected_ && socket_->has_more()) {
                return receive();
            }
            wait_readable();
        }
    }

    void take_messages() {
        const auto attempt = attempt_;
        while (!paused_ && attempt == attempt_) {
            const auto next = decoder_->next();
            if (next.status == MessageDecoder::Status::need_more) {
                return;
            }
            if (next.status == MessageDecoder::Status::malformed) {
                spdlog::error("the gateway {} sent {}", endpoint_.text, next.reason);
                lost(EPROTO);
                return;
            }
            handle(next);
        }
    }

    void handle(const MessageDecoder::Result& message) {
        const auto text = [&message] {
            return std::string(reinterpret_cast<const char*>(message.body.data()), message.body.size());
        };
        switch (message.kind) {
            case MessageKind::frame:
                if (!speaking_) {
                    return lost(EPROTO);
                }
                on_frame_(Frame(message.body.begin(), message.body.end()));
                return;
            case MessageKind::welcome:
                awaits_welcome_ = false;
                flush();
                complained_ = false;
                turned_away_ = false;
                told_.clear();
                retry_after_ = kFirstRetry;
                return;
            case MessageKind::refused:
            case MessageKind::deposed:
                turned_away(message.kind == MessageKind::refused ? "refused" : "deposed", text());
                return;
            case MessageKind::hello:
            case MessageKind::standby:
                lost(EPROTO);
                return;
        }
    }

    void turned_away(std::string_view how, const std::string& why) {
        if (awaits_welcome_) {
            return connect_anew();  // it was turned away from standing by: the gateway has not read the hello
        }
        if (std::exchange(told_, why) != why) {
            spdlog::error("the gateway {} {} this replica: {}; asking again", endpoint_.text, how, why);
        }
        turned_away_ = true;
        queue_.clear();
        retry_after_ = kTurnedAwayRetry;
        connect_later();
    }

    void lost(int reason) {
        if (is_wanted()) {
            const std::string& failure = socket_->failure();
            retry_later(failure.empty() ? std::generic_category().message(reason) : failure);
        }
    }

    // --- sending ---

    void flush() {
        if (!connected_ || waiting_writable_) {
            return;
        }
        std::array<iovec, kPartsPerWrite> parts;
        while (true) {
            const std::size_t count = queue_.gather(parts, awaits_welcome_);
            if (count == 0 && !socket_->has_unsent()) {
                return;
            }
            const ssize_t sent = socket_->send(std::span(parts).first(count));
            if (sent < 0 && errno == EAGAIN) {
                wait_writable();
                return;
            }
            if (sent < 0) {
                return;  // the read side reports the loss, after what the gateway said last
            }
            const std::uint64_t gone_before = queue_.frames().gone;
            queue_.sent(static_cast<std::size_t>(sent));
            encrypted_ = 0;
            if (socket_->has_unsent()) {
                encrypted_ = queue_.frames().gone - gone_before;
                wait_writable();
                return;
            }
        }
    }

    void wait_writable() {
        waiting_writable_ = true;
        wait(Readiness::wait_write, [this] {
            waiting_writable_ = false;
            flush();
        });
    }

    asio::io_context& io_;
    Endpoint endpoint_;
    std::shared_ptr<tls::Context> tls_;
    Hello hello_;
    Link::FrameHandler on_frame_;
    asio::steady_timer retry_timer_;
    milliseconds retry_after_ = kFirstRetry;
    std::optional<tls::PolledSocket> socket_;
    std::optional<Readiness> ready_;  // of the socket, which it does not own
    std::optional<MessageDecoder> decoder_;
    SendQueue queue_;
    std::uint64_t encrypted_ = 0;  // frames that TLS took out of the queue, and has not written yet
    std::uint64_t attempt_ = 0;    // tells handlers of an earlier socket that they are late
    bool standing_by_ = false;     // and not speaking
    bool speaking_ = false;
    // After a hello where it stood by. Frames wait: a connection that was forgotten on its way must not have them.
    bool awaits_welcome_ = false;
    bool turned_away_ = false;  // by the gateway; what the guest says meanwhile is lost, as without a network
    std::string told_;          // why, the last time
    bool connected_ = false;
    bool paused_ = false;
    bool complained_ = false;
    bool waiting_readable_ = false;
    bool waiting_writable_ = false;
};

class GatewayLink final : public Link {
  public:
    explicit GatewayLink(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
    GatewayLink(const GatewayLink&) = delete;
    GatewayLink& operator=(const GatewayLink&) = delete;
    ~GatewayLink() override { connection_->close(); }

    void stand_by() override { connection_->stand_by(); }
    void speak(SpeakerRank rank) override { connection_->speak(rank); }
    void send(std::span<const Frame> frames) override { connection_->send(frames); }
    [[nodiscard]] Passage passage() const override { return connection_->passage(); }
    void pause_receive(bool paused) override { connection_->pause(paused); }

  private:
    std::shared_ptr<Connection> connection_;
};

}  // namespace

std::unique_ptr<Link> make_gateway_link(boost::asio::io_context& io, std::string_view endpoint,
                                        const LinkConfig& config, Link::FrameHandler on_frame) {
    if (config.vm.empty() || config.vm.size() > kMaxVmNameSize) {
        throw Error::format("the VM's name '{}' must have 1 to {} characters", config.vm, kMaxVmNameSize);
    }
    Endpoint parsed = parse_endpoint(endpoint);
    if (!config.tls && !parsed.is_local()) {
        throw Error::format(
            "plain text is for loopback only, and the gateway {} is not: give --tls instead of --insecure", endpoint);
    }
    Hello hello{.vm = config.vm, .rank = {}, .mac = config.mac};
    auto tls = parsed.is_unix() ? nullptr : config.tls;
    return std::make_unique<GatewayLink>(
        std::make_shared<Connection>(io, std::move(parsed), std::move(tls), std::move(hello), std::move(on_frame)));
}

}  // namespace understudy::network
