// A TCP socket over one lwIP control block. lwIP may free the block on its own (reset, time-out, an orderly end): then
// pcb_ is null and what the program may still ask has been remembered here.
#include <asm/poll.h>
#include <asm/signal.h>
#include <linux/in.h>
#include <linux/tcp.h>

#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/heap.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/net/errors.hpp"
#include "guest/kernel/net/interface.hpp"
#include "guest/kernel/net/lwip.hpp"
#include "guest/kernel/net/socket.hpp"
#include "guest/kernel/signals.hpp"

namespace understudy::kernel {

namespace {

// lwIP counts lengths of one call in 16 bits.
constexpr std::size_t kMaxStep = 0xffff;
constexpr std::size_t kStepWhenLow = 4096;

// Received bytes in arrival order. The buffers are chained by pbuf::next alone: one pbuf can be taken off the front
// without a walk, which lwIP's own chains (with total lengths) do not allow.
class ReceiveQueue {
  public:
    ReceiveQueue() = default;
    ReceiveQueue(const ReceiveQueue&) = delete;
    ReceiveQueue& operator=(const ReceiveQueue&) = delete;
    ~ReceiveQueue() { clear(); }

    [[nodiscard]] std::size_t size() const { return size_; }

    // Takes over the chain.
    void append(pbuf* chain) {
        (tail_ == nullptr ? head_ : tail_->next) = chain;
        for (pbuf* piece = chain; piece != nullptr; piece = piece->next) {
            size_ += piece->len;
            tail_ = piece;
        }
    }

    std::size_t take(Buffers& to) {
        std::size_t taken = 0;
        while (head_ != nullptr && to.remaining() != 0) {
            const std::size_t count = to.put(payload(head_, offset_), head_->len - offset_);
            taken += count;
            offset_ += count;
            if (offset_ == head_->len) {
                drop_front();
            }
        }
        size_ -= taken;
        return taken;
    }

    std::size_t peek(Buffers& to) const {
        std::size_t seen = 0;
        std::size_t offset = offset_;
        for (const pbuf* piece = head_; piece != nullptr && to.remaining() != 0; piece = piece->next) {
            seen += to.put(payload(piece, offset), piece->len - offset);
            offset = 0;
        }
        return seen;
    }

    void clear() {
        while (head_ != nullptr) {
            drop_front();
        }
        size_ = 0;
    }

  private:
    static const std::uint8_t* payload(const pbuf* piece, std::size_t offset) {
        return static_cast<const std::uint8_t*>(piece->payload) + offset;
    }
    void drop_front() {
        pbuf* front = head_;
        head_ = front->next;
        tail_ = head_ == nullptr ? nullptr : tail_;
        offset_ = 0;
        front->next = nullptr;
        pbuf_free(front);
    }

    pbuf* head_ = nullptr;
    pbuf* tail_ = nullptr;
    std::size_t offset_ = 0;  // read already from the head
    std::size_t size_ = 0;
};

class TcpSocket final : public Socket {
  public:
    TcpSocket(std::uint32_t status_flags, tcp_pcb* pcb) : Socket(status_flags), pcb_(pcb) { attach(); }
    ~TcpSocket() override;

    [[nodiscard]] SocketType type() const override { return SocketType::stream; }
    Result bind(const Endpoint& local) override;
    Result listen(int backlog) override;
    Result accept(std::uint32_t status_flags, FileReference<Socket>& accepted) override;
    Result connect(const std::optional<Endpoint>& peer) override;
    [[nodiscard]] bool connecting() const override { return state_ == State::connecting; }
    [[nodiscard]] bool listening() const override { return state_ == State::listening; }
    Result shutdown(ShutdownHow how) override;
    Result send(Buffers& from, unsigned flags, const std::optional<Endpoint>& to) override;
    Result receive(Buffers& to, unsigned flags, Received& received) override;
    [[nodiscard]] Endpoint local() const override;
    [[nodiscard]] std::optional<Endpoint> peer() const override;
    int take_error() override { return std::exchange(error_, 0); }
    Result set_option(int level, int option, int value) override;
    Result get_option(int level, int option, int& value) const override;
    void options_changed() override;
    Result inform(tcp_info& info) const override;
    [[nodiscard]] std::size_t available() const override { return received_.size(); }
    [[nodiscard]] std::size_t outstanding() const override {
        return pcb_ == nullptr || state_ == State::listening ? 0 : pcb_->snd_lbb - pcb_->lastack;
    }
    [[nodiscard]] std::uint32_t ready() const override;

  private:
    // `ended`: was connected, and the control block is gone.
    enum class State : std::uint8_t { fresh, listening, connecting, connected, ended };

    void attach();
    void detach();
    [[nodiscard]] bool has_room() const;
    [[nodiscard]] bool in_flight() const { return pcb_->unsent != nullptr || pcb_->unacked != nullptr; }
    void push(bool hold);
    Result pipe_error(unsigned flags);
    void apply_backlog();
    void remember_addresses();

    // lwIP's callbacks; the argument is the socket.
    static err_t on_accept(void* argument, tcp_pcb* pcb, err_t error);
    static err_t on_connected(void* argument, tcp_pcb* pcb, err_t error);
    static err_t on_received(void* argument, tcp_pcb* pcb, pbuf* data, err_t error);
    static err_t on_sent(void* argument, tcp_pcb* pcb, std::uint16_t count);
    static void on_error(void* argument, err_t error);

    tcp_pcb* pcb_;
    State state_ = State::fresh;
    int error_ = 0;
    bool no_delay_ = false;
    bool corked_ = false;
    bool peer_closed_ = false;
    bool read_shut_ = false;
    bool write_shut_ = false;
    bool had_room_ = true;
    bool outcome_told_ = false;  // the program knows that its connect() has succeeded
    ReceiveQueue received_;
    Endpoint local_;
    std::optional<Endpoint> peer_;

    // Listening: connections that wait to be accepted.
    int backlog_ = 0;
    int waiting_ = 0;
    ListHook in_backlog_;
    List<TcpSocket, &TcpSocket::in_backlog_> backlog_queue_;
};

constexpr int kMaxBacklog = 4096;  // Linux's net.core.somaxconn
constexpr int kMaxHalfOpen = 255;  // lwIP counts them in 8 bits

TcpSocket::~TcpSocket() {
    while (TcpSocket* waiting = backlog_queue_.pop_front()) {
        waiting->options.linger = true;  // never accepted: reset, as Linux does
        waiting->options.linger_seconds = 0;
        waiting->release();
    }
    if (pcb_ == nullptr) {
        return;
    }
    tcp_pcb* pcb = pcb_;
    const bool listener = state_ == State::listening;
    const bool reset =
        state_ == State::connected && ((options.linger && options.linger_seconds == 0) || received_.size() != 0);
    detach();
    if (reset) {
        tcp_abort(pcb);
    } else if (tcp_close(pcb) != ERR_OK && !listener) {
        tcp_abort(pcb);
    }
    net::settle();
}

void TcpSocket::attach() {
    tcp_arg(pcb_, this);
    tcp_err(pcb_, on_error);
    tcp_recv(pcb_, on_received);
    tcp_sent(pcb_, on_sent);
}

// Lets go of the control block, which lives on without us.
void TcpSocket::detach() {
    remember_addresses();
    tcp_arg(pcb_, nullptr);
    if (state_ == State::listening) {
        tcp_accept(pcb_, nullptr);
    } else {
        tcp_err(pcb_, nullptr);
        tcp_recv(pcb_, nullptr);
        tcp_sent(pcb_, nullptr);
    }
    pcb_ = nullptr;
}

void TcpSocket::remember_addresses() {
    local_ = {pcb_->local_ip.addr, pcb_->local_port};
    if (state_ == State::connected || state_ == State::connecting) {
        peer_ = Endpoint{pcb_->remote_ip.addr, pcb_->remote_port};
    }
}

// While memory is low a connection sends a little at a time, and waits for its acknowledgement.
bool TcpSocket::has_room() const {
    return heap().low() ? !in_flight() : pcb_->snd_buf > TCP_SNDLOWAT && pcb_->snd_queuelen < TCP_SNDQUEUELOWAT;
}

Result TcpSocket::bind(const Endpoint& local) {
    if (state_ != State::fresh || pcb_ == nullptr || pcb_->local_port != 0) {
        return failure(EINVAL);
    }
    if (local.address != 0 && !net::is_local(local.address)) {
        return failure(EADDRNOTAVAIL);
    }
    const ip4_addr_t address{local.address};
    const err_t error = tcp_bind(pcb_, &address, local.port);
    return error == ERR_OK ? Result(0) : failure(error == ERR_BUF ? EADDRINUSE : error_of(error));
}

Result TcpSocket::listen(int backlog) {
    backlog_ = std::min(std::max(backlog, 1), kMaxBacklog);
    if (state_ == State::listening) {
        apply_backlog();
        return 0;
    }
    if (state_ != State::fresh || pcb_ == nullptr) {
        return failure(EINVAL);
    }
    if (pcb_->local_port == 0) {
        const Result bound = bind({});
        if (bound.failed()) {
            return bound;
        }
    }
    err_t error = ERR_OK;
    tcp_pcb* listener = tcp_listen_with_backlog_and_err(pcb_, kMaxHalfOpen, &error);
    if (listener == nullptr) {
        return failure(error_of(error));
    }
    pcb_ = listener;
    state_ = State::listening;
    tcp_arg(pcb_, this);
    tcp_accept(pcb_, on_accept);
    apply_backlog();
    changed();
    return 0;
}

// While the queue is full lwIP drops what wants to connect, and the peer tries again: as Linux does.
void TcpSocket::apply_backlog() {
    reinterpret_cast<tcp_pcb_listen*>(pcb_)->backlog = waiting_ > backlog_ ? 0 : kMaxHalfOpen;
}

err_t TcpSocket::on_accept(void* argument, tcp_pcb* pcb, err_t error) {
    auto* listener = static_cast<TcpSocket*>(argument);
    if (listener == nullptr || error != ERR_OK || pcb == nullptr) {
        return ERR_VAL;
    }
    // Those half open when the queue became full may still come in.
    auto* socket = listener->waiting_ > kMaxBacklog + kMaxHalfOpen ? nullptr : new (std::nothrow) TcpSocket(0, pcb);
    if (socket == nullptr) {
        return ERR_MEM;  // lwIP resets it
    }
    socket->state_ = State::connected;
    socket->options = listener->options;
    socket->no_delay_ = listener->no_delay_;
    socket->outcome_told_ = true;
    socket->remember_addresses();
    socket->options_changed();
    socket->acquire();
    listener->backlog_queue_.push_back(*socket);
    ++listener->waiting_;
    listener->apply_backlog();
    listener->changed();
    return ERR_OK;
}

Result TcpSocket::accept(std::uint32_t status_flags, FileReference<Socket>& accepted) {
    if (state_ != State::listening) {
        return failure(EINVAL);
    }
    TcpSocket* socket = backlog_queue_.pop_front();
    if (socket == nullptr) {
        return failure(EAGAIN);
    }
    --waiting_;
    apply_backlog();
    socket->set_status_flags(status_flags);
    accepted = FileReference<Socket>(socket);
    socket->release();  // the queue's reference
    return 0;
}

Result TcpSocket::connect(const std::optional<Endpoint>& peer) {
    switch (state_) {
        case State::listening:
            return failure(EISCONN);
        case State::connected:
            return std::exchange(outcome_told_, true) ? failure(EISCONN) : Result(0);
        case State::connecting:
            return failure(EALREADY);
        case State::ended:
            if (const int error = take_error(); error != 0) {
                return failure(error);
            }
            return failure(peer_ ? EISCONN : ECONNABORTED);
        case State::fresh:
            if (const int error = take_error(); error != 0) {
                return failure(error);
            }
            break;
    }
    if (!peer) {
        return 0;
    }
    if (pcb_ == nullptr) {  // a failed attempt took the block with it
        pcb_ = tcp_new();
        if (pcb_ == nullptr) {
            return failure(ENOBUFS);
        }
        attach();
        options_changed();
    }
    // Linux: the unspecified address is the host itself.
    const ip4_addr_t address{peer->address == 0 ? PP_HTONL(INADDR_LOOPBACK) : peer->address};
    if (peer->port == 0) {
        return failure(ECONNREFUSED);
    }
    const err_t error = tcp_connect(pcb_, &address, peer->port, on_connected);
    if (error != ERR_OK) {
        return failure(error == ERR_USE ? EADDRNOTAVAIL : error == ERR_BUF ? EADDRNOTAVAIL : error_of(error));
    }
    state_ = State::connecting;
    remember_addresses();
    net::settle();
    return failure(EINPROGRESS);
}

err_t TcpSocket::on_connected(void* argument, tcp_pcb* /*pcb*/, err_t /*error*/) {
    auto* socket = static_cast<TcpSocket*>(argument);
    if (socket != nullptr) {
        socket->state_ = State::connected;
        socket->remember_addresses();
        socket->changed();
    }
    return ERR_OK;
}

err_t TcpSocket::on_received(void* argument, tcp_pcb* pcb, pbuf* data, err_t /*error*/) {
    auto* socket = static_cast<TcpSocket*>(argument);
    if (data != nullptr) {
        if (socket->read_shut_) {
            tcp_recved(pcb, data->tot_len);
            pbuf_free(data);
        } else {
            socket->received_.append(data);
        }
    } else {
        socket->peer_closed_ = true;
        // From these states the block ends without another word to us.
        if (pcb->state == TIME_WAIT || pcb->state == CLOSING) {
            socket->detach();
            socket->state_ = State::ended;
        }
    }
    socket->changed();
    return ERR_OK;
}

err_t TcpSocket::on_sent(void* argument, tcp_pcb* /*pcb*/, std::uint16_t /*count*/) {
    auto* socket = static_cast<TcpSocket*>(argument);
    if (!socket->had_room_ && socket->has_room()) {
        socket->had_room_ = true;
        socket->changed();
    }
    return ERR_OK;
}

// The control block is gone already.
void TcpSocket::on_error(void* argument, err_t error) {
    auto* socket = static_cast<TcpSocket*>(argument);
    if (socket == nullptr) {
        return;
    }
    socket->pcb_ = nullptr;
    if (error == ERR_CLSD) {  // both sides have closed in order
        socket->state_ = State::ended;
    } else if (socket->state_ == State::connecting) {
        socket->error_ = error == ERR_RST ? ECONNREFUSED : error_of(error);
        socket->state_ = State::fresh;
        socket->peer_.reset();
    } else {
        // A reset behind an orderly end of the peer's stream: what we send arrives nowhere.
        socket->error_ = socket->peer_closed_ && error == ERR_RST ? EPIPE : error_of(error);
        socket->state_ = State::ended;  // what had arrived before can still be read
    }
    socket->changed();
}

Result TcpSocket::shutdown(ShutdownHow how) {
    if (state_ == State::listening) {
        return how == ShutdownHow::writing ? Result(0) : failure(EINVAL);
    }
    if (state_ != State::connected) {
        return failure(ENOTCONN);
    }
    if (how != ShutdownHow::writing) {
        read_shut_ = true;
    }
    if (how != ShutdownHow::reading && !write_shut_) {
        write_shut_ = true;
        (void)tcp_shutdown(pcb_, 0, 1);  // out of memory: lwIP tries again by itself
        net::settle();
    }
    changed();
    return 0;
}

// EPIPE comes with a signal unless the caller wants none.
Result TcpSocket::pipe_error(unsigned flags) {
    if ((flags & kNoSignal) == 0) {
        raise_signal(SIGPIPE, SignalCode::user);
    }
    return failure(EPIPE);
}

// Lets lwIP send what is queued; held, whole segments only (TCP_CORK, MSG_MORE). What is left goes at the latest with
// lwIP's slow timer, within 100 ms; Linux waits for 200.
void TcpSocket::push(bool hold) {
    const tcp_seg* first = pcb_->unsent;
    if (hold && (first == nullptr || (first->next == nullptr && first->len < pcb_->mss))) {
        return;
    }
    if (hold) {
        tcp_nagle_enable(pcb_);  // keeps the last segment back while those before it are under way
    }
    tcp_output(pcb_);
    if (no_delay_) {
        tcp_nagle_disable(pcb_);
    }
}

Result TcpSocket::send(Buffers& from, unsigned flags, const std::optional<Endpoint>& /*to*/) {
    if (error_ != 0) {
        const int error = take_error();
        return error == EPIPE ? pipe_error(flags) : failure(error);
    }
    if (state_ == State::connecting) {
        return failure(EAGAIN);
    }
    if (state_ != State::connected || write_shut_) {
        return pipe_error(flags);
    }
    std::size_t sent = 0;
    err_t error = ERR_OK;
    while (from.remaining() != 0 && error == ERR_OK) {
        const auto piece = from.front();
        const std::size_t memory = !heap().low() ? kMaxStep : in_flight() ? 0 : kStepWhenLow;
        const std::size_t room =
            pcb_->snd_queuelen < TCP_SND_QUEUELEN - 64 ? std::min<std::size_t>(pcb_->snd_buf, memory) : 0;
        const std::size_t step = std::min(std::min(piece.size(), room), kMaxStep);
        if (step == 0) {
            break;
        }
        const bool more = (flags & kMore) != 0 || from.remaining() > step;
        error = tcp_write(pcb_, piece.data(), static_cast<std::uint16_t>(step),
                          TCP_WRITE_FLAG_COPY | (more ? TCP_WRITE_FLAG_MORE : 0));
        if (error == ERR_OK) {
            from.advance(step);
            sent += step;
        }
    }
    had_room_ = has_room();
    if (sent != 0) {
        push(corked_ || (flags & kMore) != 0);
        net::settle();
        return static_cast<std::int64_t>(sent);
    }
    if (from.remaining() == 0) {
        return 0;
    }
    // Waiting helps only while something is under way whose acknowledgement frees memory.
    return failure(error != ERR_OK && !in_flight() ? ENOBUFS : EAGAIN);
}

Result TcpSocket::receive(Buffers& to, unsigned flags, Received& /*received*/) {
    if (state_ == State::listening || (state_ == State::fresh && error_ == 0)) {
        return failure(ENOTCONN);
    }
    if (received_.size() != 0) {
        if ((flags & kPeek) != 0) {
            return static_cast<std::int64_t>(received_.peek(to));
        }
        const std::size_t taken = received_.take(to);
        for (std::size_t left = taken; left != 0 && pcb_ != nullptr;) {
            const std::size_t step = std::min(left, kMaxStep);
            tcp_recved(pcb_, static_cast<std::uint16_t>(step));
            left -= step;
        }
        net::settle();
        return static_cast<std::int64_t>(taken);
    }
    if (error_ != 0 && error_ != EPIPE) {
        return failure(take_error());
    }
    if (peer_closed_ || read_shut_ || state_ == State::ended) {
        return 0;
    }
    return failure(EAGAIN);
}

Endpoint TcpSocket::local() const {
    return pcb_ != nullptr ? Endpoint{pcb_->local_ip.addr, pcb_->local_port} : local_;
}

std::optional<Endpoint> TcpSocket::peer() const {
    return state_ == State::connected || (state_ == State::ended && error_ == 0) ? peer_ : std::nullopt;
}

std::uint32_t TcpSocket::ready() const {
    constexpr std::uint32_t kReadable = POLLIN | POLLRDNORM;
    constexpr std::uint32_t kWritable = POLLOUT | POLLWRNORM;
    std::uint32_t mask = error_ != 0 ? POLLERR : 0;
    switch (state_) {
        case State::fresh:
            return mask | kWritable | POLLHUP | (error_ != 0 ? kReadable | POLLRDHUP : 0U);
        case State::listening:
            return waiting_ != 0 ? kReadable : 0U;
        case State::connecting:
            return mask;
        case State::ended:
            return mask | kReadable | kWritable | POLLRDHUP | POLLHUP;
        case State::connected:
            break;
    }
    const bool no_more_input = peer_closed_ || read_shut_;
    mask |= received_.size() != 0 || no_more_input ? kReadable : 0U;
    mask |= no_more_input ? std::uint32_t{POLLRDHUP} : 0U;
    mask |= no_more_input && write_shut_ ? std::uint32_t{POLLHUP} : 0U;
    mask |= write_shut_ || has_room() ? kWritable : 0U;
    return mask;
}

void TcpSocket::options_changed() {
    if (pcb_ == nullptr) {
        return;
    }
    const auto apply = [this](bool on, std::uint8_t option) {
        if (on) {
            ip_set_option(pcb_, option);
        } else {
            ip_reset_option(pcb_, option);
        }
    };
    apply(options.reuse_address || options.reuse_port, SOF_REUSEADDR);
    apply(options.keep_alive, SOF_KEEPALIVE);
    if (state_ != State::listening) {
        if (no_delay_) {
            tcp_nagle_disable(pcb_);
        } else {
            tcp_nagle_enable(pcb_);
        }
    }
}

Result TcpSocket::set_option(int level, int option, int value) {
    const bool has_block = pcb_ != nullptr && state_ != State::listening;
    if (level == IPPROTO_IP) {
        switch (option) {
            case IP_TOS:
                if (pcb_ != nullptr) {
                    pcb_->tos = static_cast<std::uint8_t>(value);
                }
                return 0;
            case IP_TTL:
                if (value < 1 || value > 255) {
                    return failure(EINVAL);
                }
                if (pcb_ != nullptr) {
                    pcb_->ttl = static_cast<std::uint8_t>(value);
                }
                return 0;
            default:
                return is_ip_hint(option) ? Result(0) : failure(ENOPROTOOPT);
        }
    }
    switch (option) {
        case TCP_NODELAY:
            no_delay_ = value != 0;
            options_changed();
            if (no_delay_ && state_ == State::connected) {
                tcp_output(pcb_);
                net::settle();
            }
            return 0;
        case TCP_KEEPIDLE:
        case TCP_KEEPINTVL:
        case TCP_KEEPCNT:
            if (value < 1 || value > 32767) {
                return failure(EINVAL);
            }
            if (has_block) {
                const auto wanted = static_cast<std::uint32_t>(value);
                (option == TCP_KEEPIDLE    ? pcb_->keep_idle
                 : option == TCP_KEEPINTVL ? pcb_->keep_intvl
                                           : pcb_->keep_cnt) = option == TCP_KEEPCNT ? wanted : wanted * 1000;
            }
            return 0;
        case TCP_CORK:
            corked_ = value != 0;
            if (!corked_ && state_ == State::connected) {
                tcp_nagle_disable(pcb_);  // what was held goes now
                push(false);
                options_changed();
                net::settle();
            }
            return 0;
        case TCP_QUICKACK:
        case TCP_DEFER_ACCEPT:
        case TCP_USER_TIMEOUT:
        case TCP_FASTOPEN:
        case TCP_MAXSEG:
        case TCP_SYNCNT:
        case TCP_LINGER2:
        case TCP_NOTSENT_LOWAT:
        case TCP_WINDOW_CLAMP:
            return 0;  // hints
        default:
            return failure(ENOPROTOOPT);
    }
}

Result TcpSocket::get_option(int level, int option, int& value) const {
    const bool has_block = pcb_ != nullptr && state_ != State::listening;
    if (level == IPPROTO_IP) {
        switch (option) {
            case IP_TOS:
                value = pcb_ != nullptr ? pcb_->tos : 0;
                return 0;
            case IP_TTL:
                value = pcb_ != nullptr ? pcb_->ttl : TCP_TTL;
                return 0;
            default:
                return failure(ENOPROTOOPT);
        }
    }
    constexpr int kMillisecondsPerSecond = 1000;
    switch (option) {
        case TCP_NODELAY:
            value = no_delay_ ? 1 : 0;
            return 0;
        case TCP_MAXSEG:
            value = has_block ? pcb_->mss : TCP_MSS;
            return 0;
        case TCP_KEEPIDLE:
            value = has_block ? static_cast<int>(pcb_->keep_idle) / kMillisecondsPerSecond : 7200;
            return 0;
        case TCP_KEEPINTVL:
            value = has_block ? static_cast<int>(pcb_->keep_intvl) / kMillisecondsPerSecond : 75;
            return 0;
        case TCP_KEEPCNT:
            value = has_block ? static_cast<int>(pcb_->keep_cnt) : 9;
            return 0;
        case TCP_CORK:
            value = corked_ ? 1 : 0;
            return 0;
        case TCP_QUICKACK:
        case TCP_DEFER_ACCEPT:
        case TCP_USER_TIMEOUT:
        case TCP_FASTOPEN:
            value = 0;
            return 0;
        case TCP_SYNCNT:
            value = TCP_SYNMAXRTX;
            return 0;
        case TCP_LINGER2:
            value = TCP_FIN_WAIT_TIMEOUT / kMillisecondsPerSecond;
            return 0;
        default:
            return failure(ENOPROTOOPT);
    }
}

Result TcpSocket::inform(tcp_info& info) const {
    enum LinuxState : std::uint8_t {
        kEstablished = 1,
        kSynSent,
        kSynReceived,
        kFinWait1,
        kFinWait2,
        kTimeWait,
        kClosed,
        kCloseWait,
        kLastAck,
        kListen,
        kClosing
    };
    // In the order of lwIP's tcp_state.
    constexpr LinuxState kStates[] = {kClosed,   kListen,    kSynSent, kSynReceived, kEstablished, kFinWait1,
                                      kFinWait2, kCloseWait, kClosing, kLastAck,     kTimeWait};
    info.tcpi_state = pcb_ == nullptr ? kClosed : kStates[pcb_->state];
    if (pcb_ == nullptr || state_ == State::listening) {
        return 0;
    }
    constexpr std::uint32_t kTick = 2 * TCP_TMR_INTERVAL * 1000;  // lwIP's slow timer, in microseconds
    info.tcpi_snd_mss = info.tcpi_advmss = pcb_->mss;
    info.tcpi_rcv_mss = TCP_MSS;
    info.tcpi_rto = static_cast<std::uint32_t>(pcb_->rto) * kTick;
    info.tcpi_rtt = static_cast<std::uint32_t>(pcb_->sa > 0 ? pcb_->sa >> 3 : 0) * kTick;
    info.tcpi_retransmits = pcb_->nrtx;
    info.tcpi_unacked = (pcb_->snd_nxt - pcb_->lastack + pcb_->mss - 1U) / pcb_->mss;
    info.tcpi_notsent_bytes = pcb_->snd_lbb - pcb_->snd_nxt;
    info.tcpi_snd_cwnd = pcb_->cwnd / pcb_->mss;
    info.tcpi_snd_ssthresh = pcb_->ssthresh / pcb_->mss;
    info.tcpi_rcv_space = pcb_->rcv_wnd;
    return 0;
}

}  // namespace

FileReference<Socket> make_stream_socket(std::uint32_t status_flags) {
    tcp_pcb* pcb = tcp_new();
    if (pcb == nullptr) {
        return {};
    }
    auto* socket = new (std::nothrow) TcpSocket(status_flags, pcb);
    if (socket == nullptr) {
        tcp_abort(pcb);
        return {};
    }
    return FileReference<Socket>(socket);
}

}  // namespace understudy::kernel
