// A TCP socket's options, and what TCP_INFO tells of a connection.
#include <linux/in.h>
#include <linux/tcp.h>

#include "guest/kernel/net/interface.hpp"
#include "guest/kernel/net/ip_options.hpp"
#include "guest/kernel/net/tcp_socket.hpp"

namespace understudy::kernel {

void TcpSocket::options_changed() {
    if (pcb_ == nullptr) {
        return;
    }
    set_flag(*pcb_, SOF_REUSEADDR, options.reuse_address || options.reuse_port);
    set_flag(*pcb_, SOF_KEEPALIVE, options.keep_alive);
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
        return set_ip_option(pcb_, option, value);
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
            if (!corked_ && has_block && state_ == State::connected) {
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
        return get_ip_option(pcb_, option, value);
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

}  // namespace understudy::kernel
