// The replica's side of gateway_protocol.hpp.
#include <netinet/in.h>
#include <netinet/tcp.h>
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
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "hypervisor/gateway/endpoint.hpp"
#include "hypervisor/gateway/protocol.hpp"
#include "hypervisor/network/links.hpp"

namespace understudy::network {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr std::size_t kReceiveBuffer = std::size_t{256} << 10;
constexpr std::size_t kMaxQueuedBytes = std::size_t{4} << 20;
constexpr std::size_t kMaxReadsPerWakeup = 4;
constexpr std::size_t kPartsPerWrite = 256;
constexpr milliseconds kFirstRetry{1};
constexpr milliseconds kLongestRetry{250};
// A gateway that has turned this replica away is asked again: what it thinks of the others may have been wrong, or may
// have changed. Who was deposed by right learns it from the arbiter and ends itself.
constexpr milliseconds kTurnedAwayRetry{1000};
// For a gateway on another host that vanished without a word.
constexpr unsigned kTcpUserTimeoutMs = 5000;

// Messages on their way to the gateway. When it does not drain them the oldest frames go, as a NIC's would.
class SendQueue {
  public:
    void push_frame(std::span<const std::byte> frame) {
        Message& message = messages_.emplace_back();
        message.bytes.reserve(kMessageHeaderSize + frame.size());
        append_frame(message.bytes, frame);
        bytes_ += message.bytes.size();
        while (bytes_ > kMaxQueuedBytes) {
            const auto oldest = first_untouched();
            bytes_ -= oldest->bytes.size();
            messages_.erase(oldest);
        }
    }

    // A hello goes before the frames, behind one that is half written.
    void push_hello(const Hello& hello) {
        Message message{.bytes = {}, .is_hello = true};
        append_hello(message.bytes, hello);
        bytes_ += message.bytes.size();
        messages_.insert(first_untouched(), std::move(message));
    }

    [[nodiscard]] bool empty() const { return messages_.empty(); }

    [[nodiscard]] std::size_t gather(std::span<iovec> parts) {
        const std::size_t count = std::min(parts.size(), messages_.size());
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t skip = i == 0 ? partial_ : 0;
            parts[i] = {.iov_base = messages_[i].bytes.data() + skip, .iov_len = messages_[i].bytes.size() - skip};
        }
        return count;
    }

    void sent(std::size_t bytes) {
        partial_ += bytes;
        while (!messages_.empty() && partial_ >= messages_.front().bytes.size()) {
            partial_ -= messages_.front().bytes.size();
            bytes_ -= messages_.front().bytes.size();
            messages_.pop_front();
        }
    }

    // The connection is gone: a frame half written starts from its beginning, hellos are the next connection's to say.
    void disconnected() {
        partial_ = 0;
        while (!messages_.empty() && messages_.front().is_hello) {
            bytes_ -= messages_.front().bytes.size();
            messages_.pop_front();
        }
    }

    void clear() { *this = SendQueue(); }

  private:
    struct Message {
        std::vector<std::byte> bytes;
        bool is_hello = false;
    };

    [[nodiscard]] std::deque<Message>::iterator first_untouched() {
        auto position = messages_.begin() + (partial_ > 0 ? 1 : 0);
        while (position != messages_.end() && position->is_hello) {
            ++position;
        }
        return position;
    }

    std::deque<Message> messages_;  // at most one begun frame, then hellos, then frames
    std::size_t bytes_ = 0;
    std::size_t partial_ = 0;  // of the first
};

// Handlers in flight keep the object alive; close() makes them do nothing.
class Connection : public std::enable_shared_from_this<Connection> {
  public:
    Connection(asio::io_context& io, Endpoint endpoint, Hello hello, Link::FrameHandler on_frame)
        : io_(io),
          endpoint_(std::move(endpoint)),
          hello_(std::move(hello)),
          on_frame_(std::move(on_frame)),
          retry_timer_(io) {}

    void speak(SpeakerRank rank) {
        hello_.rank = rank;
        if (!speaking_ || turned_away_) {
            speaking_ = true;
            turned_away_ = false;
            retry_timer_.cancel();
            retry_after_ = kFirstRetry;
            connect();
        } else if (socket_ && connected_) {
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

    void pause(bool paused) {
        if (std::exchange(paused_, paused) && !paused) {
            // Not from here: the caller may be inside on_frame.
            asio::post(io_, [self = shared_from_this()] { self->deliver(); });
        }
    }

    void close() {
        speaking_ = false;
        queue_.clear();
        drop_socket();
        retry_timer_.cancel();
    }

  private:
    // --- connecting ---

    void connect() {
        FileDescriptor fd(::socket(endpoint_.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (!fd) {
            retry_later(errno);
            return;
        }
        if (!endpoint_.is_unix()) {
            const int on = 1;
            ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            ::setsockopt(fd.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &kTcpUserTimeoutMs, sizeof kTcpUserTimeoutMs);
        }
        const int status = ::connect(fd.get(), std::bit_cast<const sockaddr*>(&endpoint_.address), endpoint_.length);
        if (status != 0 && errno != EINPROGRESS) {
            retry_later(errno);
            return;
        }
        socket_.emplace(io_, fd.release());
        decoder_.emplace(kReceiveBuffer);
        if (status == 0) {
            on_connected();
            return;
        }
        socket_->async_wait(asio::posix::stream_descriptor::wait_write,
                            [self = shared_from_this(), attempt = attempt_](error_code error) {
                                if (error || attempt != self->attempt_) {
                                    return;
                                }
                                int reason = 0;
                                socklen_t size = sizeof reason;
                                ::getsockopt(self->socket_->native_handle(), SOL_SOCKET, SO_ERROR, &reason, &size);
                                if (reason != 0) {
                                    self->retry_later(reason);
                                } else {
                                    self->on_connected();
                                }
                            });
    }

    void on_connected() {
        connected_ = true;
        say_hello();
        wait_readable();
    }

    void say_hello() {
        queue_.push_hello(hello_);
        flush();
    }

    void retry_later(int reason) {
        if (!std::exchange(complained_, true)) {
            spdlog::warn("cannot reach the gateway {}: {}; trying again", endpoint_.text,
                         std::generic_category().message(reason));
        }
        connect_later();
    }

    void connect_later() {
        drop_socket();
        const auto next = turned_away_ ? kTurnedAwayRetry : std::min(retry_after_ * 2, kLongestRetry);
        retry_timer_.expires_after(std::exchange(retry_after_, next));
        retry_timer_.async_wait([self = shared_from_this()](error_code error) {
            if (!error && self->speaking_) {
                self->connect();
            }
        });
    }

    void drop_socket() {
        ++attempt_;
        connected_ = false;
        waiting_readable_ = false;
        waiting_writable_ = false;
        queue_.disconnected();
        socket_.reset();
    }

    // --- receiving ---

    void wait_readable() {
        if (!connected_ || waiting_readable_ || paused_) {
            return;
        }
        waiting_readable_ = true;
        socket_->async_wait(asio::posix::stream_descriptor::wait_read,
                            [self = shared_from_this(), attempt = attempt_](error_code error) {
                                if (!error && attempt == self->attempt_) {
                                    self->waiting_readable_ = false;
                                    self->receive();
                                }
                            });
    }

    void receive() {
        for (std::size_t i = 0; i < kMaxReadsPerWakeup && connected_ && !paused_; ++i) {
            const auto space = decoder_->space();
            const ssize_t got = ::recv(socket_->native_handle(), space.data(), space.size(), MSG_DONTWAIT);
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
                break;
            }
            if (got <= 0) {
                lost(got < 0 ? errno : ECONNRESET);
                return;
            }
            decoder_->committed(static_cast<std::size_t>(got));
            take_messages();
            if (static_cast<std::size_t>(got) < space.size()) {
                break;  // the socket is empty
            }
        }
        wait_readable();
    }

    // After a pause: first what had been read already, then the socket.
    void deliver() {
        if (connected_ && !paused_) {
            take_messages();
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
                on_frame_(Frame(message.body.begin(), message.body.end()));
                return;
            case MessageKind::welcome:
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
                lost(EPROTO);
                return;
        }
    }

    void turned_away(std::string_view how, const std::string& why) {
        if (std::exchange(told_, why) != why) {
            spdlog::error("the gateway {} {} this replica: {}; asking again", endpoint_.text, how, why);
        }
        turned_away_ = true;
        queue_.clear();
        retry_after_ = kTurnedAwayRetry;
        connect_later();
    }

    void lost(int reason) {
        if (speaking_) {
            retry_later(reason);
        }
    }

    // --- sending ---

    void flush() {
        if (!connected_ || waiting_writable_) {
            return;
        }
        std::array<iovec, kPartsPerWrite> parts;
        while (!queue_.empty()) {
            msghdr message{};
            message.msg_iov = parts.data();
            message.msg_iovlen = queue_.gather(parts);
            const ssize_t sent = ::sendmsg(socket_->native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent < 0 && errno == EAGAIN) {
                wait_writable();
                return;
            }
            if (sent < 0) {
                return;  // the read side reports the loss, after what the gateway said last
            }
            queue_.sent(static_cast<std::size_t>(sent));
        }
    }

    void wait_writable() {
        waiting_writable_ = true;
        socket_->async_wait(asio::posix::stream_descriptor::wait_write,
                            [self = shared_from_this(), attempt = attempt_](error_code error) {
                                if (!error && attempt == self->attempt_) {
                                    self->waiting_writable_ = false;
                                    self->flush();
                                }
                            });
    }

    asio::io_context& io_;
    Endpoint endpoint_;
    Hello hello_;
    Link::FrameHandler on_frame_;
    asio::steady_timer retry_timer_;
    milliseconds retry_after_ = kFirstRetry;
    std::optional<asio::posix::stream_descriptor> socket_;
    std::optional<MessageDecoder> decoder_;
    SendQueue queue_;
    std::uint64_t attempt_ = 0;  // tells handlers of an earlier socket that they are late
    bool speaking_ = false;
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

    void speak(SpeakerRank rank) override { connection_->speak(rank); }
    void send(std::span<const Frame> frames) override { connection_->send(frames); }
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
    Hello hello{.vm = config.vm, .rank = {}, .mac = config.mac};
    return std::make_unique<GatewayLink>(
        std::make_shared<Connection>(io, parse_endpoint(endpoint), std::move(hello), std::move(on_frame)));
}

}  // namespace understudy::network
