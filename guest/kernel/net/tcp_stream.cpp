// The bytes of a TCP connection, both ways.
#include <asm/signal.h>

#include "guest/kernel/heap.hpp"
#include "guest/kernel/net/interface.hpp"
#include "guest/kernel/net/tcp_socket.hpp"
#include "guest/kernel/signals.hpp"

namespace understudy::kernel {

namespace {

// lwIP counts lengths of one call in 16 bits.
constexpr std::size_t kMaxStep = 0xffff;
constexpr std::size_t kStepWhenLow = 4096;

}  // namespace

// While memory is low a connection sends a little at a time, and waits for its acknowledgement.
bool TcpSocket::has_room() const {
    return heap().low() ? !in_flight() : pcb_->snd_buf > TCP_SNDLOWAT && pcb_->snd_queuelen < TCP_SNDQUEUELOWAT;
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

}  // namespace understudy::kernel
