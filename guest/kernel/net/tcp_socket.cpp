#include "guest/kernel/net/tcp_socket.hpp"

#include <asm/poll.h>
#include <linux/in.h>

#include <new>

#include "guest/kernel/net/errors.hpp"
#include "guest/kernel/net/interface.hpp"

namespace understudy::kernel {

namespace {

constexpr int kMaxBacklog = 4096;  // Linux's net.core.somaxconn
constexpr int kMaxHalfOpen = 255;  // lwIP counts them in 8 bits

}  // namespace

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
    if (reset || (tcp_close(pcb) != ERR_OK && !listener)) {
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
