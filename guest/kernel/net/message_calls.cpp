// System calls that send and receive on sockets.
#include <cstdint>

#include "guest/kernel/blocking.hpp"
#include "guest/kernel/buffers.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/net/socket_address.hpp"
#include "guest/kernel/net/socket_lookup.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

// struct msghdr.
struct MessageHeader {
    SocketAddress* name;
    std::uint32_t name_size;
    iovec* pieces;
    std::uint64_t piece_count;
    void* control;
    std::uint64_t control_size;
    std::uint32_t flags;
};

namespace {

constexpr std::size_t kMaxPieces = 1024;

// struct mmsghdr.
struct CountedMessage {
    MessageHeader header;
    std::uint32_t length;
};

Result check_pieces(const iovec* pieces, std::uint64_t count) {
    if (count > kMaxPieces) {
        return failure(EMSGSIZE);
    }
    if (!accessible(pieces, count * sizeof *pieces)) {
        return failure(EFAULT);
    }
    std::size_t total = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (pieces[i].iov_len > kMaxTransfer ||
            (pieces[i].iov_len != 0 && !accessible(pieces[i].iov_base, pieces[i].iov_len))) {
            return failure(pieces[i].iov_len > kMaxTransfer ? EINVAL : EFAULT);
        }
        total += pieces[i].iov_len;
    }
    return total > kMaxTransfer ? failure(EINVAL) : Result(0);
}

// Where one message goes, if not to the socket's peer; a stream has no other place.
Result parse_destination(const Socket& socket, const SocketAddress* address, std::uint32_t size,
                         std::optional<Endpoint>& to) {
    if (address == nullptr || socket.type() != SocketType::datagram) {
        return 0;
    }
    Endpoint endpoint;
    const Result parsed = parse_address(address, size, endpoint);
    if (!parsed.failed()) {
        to = endpoint;
    }
    return parsed;
}

Result send_all(Socket& socket, Buffers& from, unsigned flags, const std::optional<Endpoint>& to) {
    std::int64_t sent = 0;
    const bool dont_wait = (flags & kDontWait) != 0;
    do {
        const Result result = blocking(socket, dont_wait, false, [&] { return socket.send(from, flags, to); });
        if (result.failed()) {
            return sent != 0 ? Result(sent) : result;
        }
        sent += result.raw();
    } while (from.remaining() != 0 && !dont_wait && !socket.nonblocking());
    return sent;
}

// MSG_WAITALL: until the buffers are full, the stream ends or something fails.
Result receive_some(Socket& socket, Buffers& to, unsigned flags, Socket::Received& received) {
    const bool all = (flags & kWaitAll) != 0 && (flags & kPeek) == 0 && socket.type() == SocketType::stream;
    std::int64_t count = 0;
    do {
        const Result result =
            blocking(socket, (flags & kDontWait) != 0, true, [&] { return socket.receive(to, flags, received); });
        if (result.failed() || result.raw() == 0) {
            return count != 0 ? Result(count) : result;
        }
        count += result.raw();
    } while (all && to.remaining() != 0);
    return count;
}

Result send_message(Socket& socket, const MessageHeader* message, unsigned flags) {
    if (!accessible(message)) {
        return failure(EFAULT);
    }
    std::optional<Endpoint> to;
    if (const Result parsed = parse_destination(socket, message->name, message->name_size, to); parsed.failed()) {
        return parsed;
    }
    if (const Result checked = check_pieces(message->pieces, message->piece_count); checked.failed()) {
        return checked;
    }
    Buffers from({message->pieces, message->piece_count});
    return send_all(socket, from, flags, to);
}

Result receive_message(Socket& socket, MessageHeader* message, unsigned flags) {
    if (!accessible(message)) {
        return failure(EFAULT);
    }
    if (const Result checked = check_pieces(message->pieces, message->piece_count); checked.failed()) {
        return checked;
    }
    Buffers to({message->pieces, message->piece_count});
    Socket::Received received;
    const Result result = receive_some(socket, to, flags, received);
    if (result.failed()) {
        return result;
    }
    if (message->name != nullptr && received.from) {
        const Result answered = answer_address(*received.from, kFamilyInternet, message->name, &message->name_size);
        if (answered.failed()) {
            return answered;
        }
    } else {
        message->name_size = 0;
    }
    message->control_size = 0;
    message->flags = received.truncated ? std::uint32_t{kTruncated} : 0U;
    return result;
}

}  // namespace

Result sys_sendto(int fd, const void* buffer, std::size_t size, unsigned flags, const SocketAddress* address,
                  std::uint32_t address_size) {
    return on_socket(fd, [&](Socket& socket) -> Result {
        const iovec piece{const_cast<void*>(buffer), std::min(size, kMaxTransfer)};
        if (piece.iov_len != 0 && !accessible(buffer, piece.iov_len)) {
            return failure(EFAULT);
        }
        std::optional<Endpoint> to;
        if (const Result parsed = parse_destination(socket, address, address_size, to); parsed.failed()) {
            return parsed;
        }
        Buffers from({&piece, 1});
        return send_all(socket, from, flags, to);
    });
}

Result sys_recvfrom(int fd, void* buffer, std::size_t size, unsigned flags, SocketAddress* address,
                    std::uint32_t* address_size) {
    return on_socket(fd, [&](Socket& socket) -> Result {
        const iovec piece{buffer, std::min(size, kMaxTransfer)};
        if (piece.iov_len != 0 && !accessible(buffer, piece.iov_len)) {
            return failure(EFAULT);
        }
        Buffers to({&piece, 1});
        Socket::Received received;
        const Result result = receive_some(socket, to, flags, received);
        if (result.failed() || address == nullptr) {
            return result;
        }
        if (!received.from) {
            if (!accessible(address_size)) {
                return failure(EFAULT);
            }
            *address_size = 0;
            return result;
        }
        const Result answered = answer_address(*received.from, socket.family(), address, address_size);
        return answered.failed() ? answered : result;
    });
}

Result sys_sendmsg(int fd, const MessageHeader* message, unsigned flags) {
    return on_socket(fd, [&](Socket& socket) { return send_message(socket, message, flags); });
}

Result sys_recvmsg(int fd, MessageHeader* message, unsigned flags) {
    return on_socket(fd, [&](Socket& socket) { return receive_message(socket, message, flags); });
}

Result sys_sendmmsg(int fd, void* user_messages, unsigned count, unsigned flags) {
    auto* messages = static_cast<CountedMessage*>(user_messages);
    return on_socket(fd, [&](Socket& socket) -> Result {
        unsigned sent = 0;
        for (count = std::min<unsigned>(count, kMaxPieces); sent < count; ++sent) {
            if (!accessible(&messages[sent])) {
                return sent != 0 ? Result(sent) : failure(EFAULT);
            }
            const Result result = send_message(socket, &messages[sent].header, flags);
            if (result.failed()) {
                return sent != 0 ? Result(sent) : result;
            }
            messages[sent].length = static_cast<std::uint32_t>(result.raw());
        }
        return sent;
    });
}

Result sys_recvmmsg(int fd, void* user_messages, unsigned count, unsigned flags, Timespec* timeout) {
    constexpr unsigned kWaitForOne = 0x10000;
    auto* messages = static_cast<CountedMessage*>(user_messages);
    if (timeout != nullptr && (!accessible(timeout) || !valid(*timeout))) {
        return failure(accessible(timeout) ? EINVAL : EFAULT);
    }
    const Nanoseconds deadline = timeout == nullptr ? kNever : after(now(), nanoseconds(*timeout));
    return on_socket(fd, [&](Socket& socket) -> Result {
        unsigned received = 0;
        for (count = std::min<unsigned>(count, kMaxPieces); received < count && now() <= deadline; ++received) {
            if (!accessible(&messages[received])) {
                return received != 0 ? Result(received) : failure(EFAULT);
            }
            const unsigned extra = received != 0 && (flags & kWaitForOne) != 0 ? kDontWait : 0;
            const Result result = receive_message(socket, &messages[received].header, (flags & ~kWaitForOne) | extra);
            if (result.failed()) {
                return received != 0 ? Result(received) : result;
            }
            messages[received].length = static_cast<std::uint32_t>(result.raw());
        }
        return received;
    });
}

}  // namespace understudy::kernel
