// A UDP socket over one lwIP control block.
#include <asm/poll.h>
#include <linux/in.h>

#include "guest/kernel/net/errors.hpp"
#include "guest/kernel/net/interface.hpp"
#include "guest/kernel/net/ip_options.hpp"
#include "guest/kernel/net/lwip.hpp"
#include "guest/kernel/net/socket.hpp"

namespace understudy::kernel {

namespace {

constexpr std::size_t kMaxDatagram = 65507;

class UdpSocket final : public Socket {
  public:
    UdpSocket(std::uint32_t status_flags, udp_pcb* pcb) : Socket(status_flags), pcb_(pcb) {
        udp_recv(pcb_, on_received, this);
    }
    ~UdpSocket() override;

    [[nodiscard]] SocketType type() const override { return SocketType::datagram; }
    Result bind(const Endpoint& local) override;
    Result listen(int /*backlog*/) override { return failure(EOPNOTSUPP); }
    Result accept(std::uint32_t /*status_flags*/, FileReference<Socket>& /*accepted*/) override {
        return failure(EOPNOTSUPP);
    }
    Result connect(const std::optional<Endpoint>& peer) override;
    Result shutdown(ShutdownHow how) override;
    Result send(Buffers& from, unsigned flags, const std::optional<Endpoint>& to) override;
    Result receive(Buffers& to, unsigned flags, Received& received) override;
    [[nodiscard]] Endpoint local() const override { return {local_address_, pcb_->local_port}; }
    [[nodiscard]] std::optional<Endpoint> peer() const override { return peer_; }
    Result set_option(int level, int option, int value) override;
    Result get_option(int level, int option, int& value) const override;
    void options_changed() override;
    [[nodiscard]] std::size_t available() const override { return head_ == nullptr ? 0 : head_->data->tot_len; }
    [[nodiscard]] std::uint32_t ready() const override;

  private:
    struct Datagram {
        Datagram* next;
        pbuf* data;
        Endpoint from;
    };
    static void on_received(void* argument, udp_pcb* pcb, pbuf* data, const ip4_addr_t* address, std::uint16_t port);
    void drop_front();

    udp_pcb* pcb_;
    std::uint32_t local_address_ = 0;
    bool bound_to_address_ = false;
    std::optional<Endpoint> peer_;
    bool read_shut_ = false;
    bool write_shut_ = false;
    Datagram* head_ = nullptr;
    Datagram* tail_ = nullptr;
    std::size_t queued_ = 0;  // bytes, with a share for each datagram's own memory
};

constexpr std::size_t kDatagramCost = 256;

UdpSocket::~UdpSocket() {
    while (head_ != nullptr) {
        drop_front();
    }
    udp_remove(pcb_);
}

void UdpSocket::drop_front() {
    Datagram* front = head_;
    head_ = front->next;
    tail_ = head_ == nullptr ? nullptr : tail_;
    queued_ -= front->data->tot_len + kDatagramCost;
    pbuf_free(front->data);
    delete front;
}

void UdpSocket::on_received(void* argument, udp_pcb* /*pcb*/, pbuf* data, const ip4_addr_t* address,
                            std::uint16_t port) {
    auto* socket = static_cast<UdpSocket*>(argument);
    const std::size_t cost = data->tot_len + kDatagramCost;
    const bool fits = socket->queued_ + cost <= static_cast<std::size_t>(socket->options.receive_buffer);
    auto* datagram =
        fits && !socket->read_shut_ ? new (std::nothrow) Datagram{nullptr, data, {address->addr, port}} : nullptr;
    if (datagram == nullptr) {
        pbuf_free(data);
        return;
    }
    (socket->tail_ == nullptr ? socket->head_ : socket->tail_->next) = datagram;
    socket->tail_ = datagram;
    socket->queued_ += cost;
    socket->changed();
}

Result UdpSocket::bind(const Endpoint& local) {
    if (pcb_->local_port != 0) {
        return failure(EINVAL);
    }
    const ip4_addr_t address{local.address};
    if (local.address != 0 && !net::is_local(local.address) && !ip4_addr_ismulticast(&address)) {
        return failure(EADDRNOTAVAIL);
    }
    const err_t error = udp_bind(pcb_, &address, local.port);
    if (error == ERR_OK) {
        local_address_ = local.address;
        bound_to_address_ = local.address != 0;
    }
    return error == ERR_OK ? Result(0) : failure(error_of(error));
}

Result UdpSocket::connect(const std::optional<Endpoint>& peer) {
    if (!peer) {
        udp_disconnect(pcb_);
        peer_.reset();
        local_address_ = bound_to_address_ ? local_address_ : 0;
        return 0;
    }
    const ip4_addr_t address{peer->address == 0 ? PP_HTONL(INADDR_LOOPBACK) : peer->address};
    const std::uint32_t source = net::source_for(address.addr);
    if (source == 0) {
        return failure(ENETUNREACH);
    }
    const err_t error = udp_connect(pcb_, &address, peer->port);
    if (error != ERR_OK) {
        return failure(error == ERR_USE ? EADDRINUSE : error_of(error));
    }
    peer_ = Endpoint{address.addr, peer->port};
    if (!bound_to_address_) {
        local_address_ = ip4_addr_isloopback(&address) ? PP_HTONL(INADDR_LOOPBACK) : source;
    }
    return 0;
}

Result UdpSocket::shutdown(ShutdownHow how) {
    if (!peer_) {
        return failure(ENOTCONN);
    }
    read_shut_ |= how != ShutdownHow::writing;
    write_shut_ |= how != ShutdownHow::reading;
    changed();
    return 0;
}

Result UdpSocket::send(Buffers& from, unsigned /*flags*/, const std::optional<Endpoint>& to) {
    const std::optional<Endpoint> target = to ? to : peer_;
    if (write_shut_) {
        return failure(EPIPE);
    }
    if (!target) {
        return failure(EDESTADDRREQ);
    }
    if (target->port == 0) {
        return failure(EINVAL);
    }
    const std::size_t size = from.remaining();
    if (size > kMaxDatagram) {
        return failure(EMSGSIZE);
    }
    const ip4_addr_t address{target->address == 0 ? PP_HTONL(INADDR_LOOPBACK) : target->address};
    pbuf* data = pbuf_alloc(PBUF_TRANSPORT, static_cast<std::uint16_t>(size), PBUF_RAM);
    if (data == nullptr) {
        return failure(ENOBUFS);
    }
    from.take(data->payload, size);
    const err_t error = udp_sendto(pcb_, data, &address, target->port);
    pbuf_free(data);
    net::settle();
    if (error == ERR_VAL && (pcb_->so_options & SOF_BROADCAST) == 0) {
        return failure(EACCES);
    }
    // A datagram that finds no memory on its way is lost, as on any network.
    return error == ERR_OK || error == ERR_MEM ? Result(static_cast<std::int64_t>(size)) : failure(error_of(error));
}

Result UdpSocket::receive(Buffers& to, unsigned flags, Received& received) {
    if (head_ == nullptr) {
        return read_shut_ ? Result(0) : failure(EAGAIN);
    }
    const std::size_t size = head_->data->tot_len;
    std::size_t copied = 0;
    for (const pbuf* piece = head_->data; piece != nullptr && to.remaining() != 0; piece = piece->next) {
        copied += to.put(piece->payload, piece->len);
    }
    received.from = head_->from;
    received.truncated = copied < size;
    if ((flags & kPeek) == 0) {
        drop_front();
    }
    return static_cast<std::int64_t>((flags & kTruncated) != 0 ? size : copied);
}

std::uint32_t UdpSocket::ready() const {
    return POLLOUT | POLLWRNORM | (head_ != nullptr || read_shut_ ? POLLIN | POLLRDNORM : 0U) |
           (read_shut_ ? std::uint32_t{POLLRDHUP} : 0U) | (read_shut_ && write_shut_ ? std::uint32_t{POLLHUP} : 0U);
}

void UdpSocket::options_changed() {
    set_flag(*pcb_, SOF_REUSEADDR, options.reuse_address || options.reuse_port);
    set_flag(*pcb_, SOF_BROADCAST, options.broadcast);
}

Result UdpSocket::set_option(int level, int option, int value) {
    return level == IPPROTO_IP ? set_ip_option(pcb_, option, value) : failure(ENOPROTOOPT);
}

Result UdpSocket::get_option(int level, int option, int& value) const {
    return level == IPPROTO_IP ? get_ip_option(pcb_, option, value) : failure(ENOPROTOOPT);
}

}  // namespace

FileReference<Socket> make_datagram_socket(std::uint32_t status_flags) {
    udp_pcb* pcb = udp_new();
    if (pcb == nullptr) {
        return {};
    }
    auto* socket = new (std::nothrow) UdpSocket(status_flags, pcb);
    if (socket == nullptr) {
        udp_remove(pcb);
        return {};
    }
    return FileReference<Socket>(socket);
}

}  // namespace understudy::kernel
