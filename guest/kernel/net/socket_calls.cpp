// System calls on sockets.
#include <asm/socket.h>
#include <linux/fcntl.h>
#include <linux/in.h>
#include <linux/tcp.h>

#include <cstring>

#include "guest/kernel/blocking.hpp"
#include "guest/kernel/console.hpp"
#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/net/socket.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

// struct sockaddr_in.
struct SocketAddress {
    std::uint16_t family;
    std::uint16_t port;  // network byte order
    std::uint32_t address;
    std::uint8_t zero[8];
};
static_assert(sizeof(SocketAddress) == 16);

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

constexpr unsigned kTypeMask = 0xf;
constexpr unsigned kRawType = 3;
constexpr std::size_t kMaxPieces = 1024;
constexpr std::size_t kMaxTransfer = 0x7ffff000;

struct SocketLookup {
    Result outcome;
    FileReference<Socket> socket;
};

SocketLookup find_socket(int fd) {
    File* file = descriptors().find(fd);
    if (file == nullptr) {
        return {failure(EBADF), {}};
    }
    Socket* socket = file->as_socket();
    return {socket == nullptr ? failure(ENOTSOCK) : Result(0), FileReference<Socket>(socket)};
}

// Runs `action(socket)` on the socket behind `fd`.
template <typename Action>
Result on_socket(int fd, Action action) {
    const SocketLookup found = find_socket(fd);
    return found.outcome.failed() ? found.outcome : action(*found.socket);
}

Result parse(const SocketAddress* address, std::uint32_t size, Endpoint& endpoint) {
    if (size < sizeof(SocketAddress)) {
        return failure(EINVAL);
    }
    if (!accessible(address)) {
        return failure(EFAULT);
    }
    if (address->family != kFamilyInternet) {
        return failure(EAFNOSUPPORT);
    }
    endpoint = {address->address, __builtin_bswap16(address->port)};
    return 0;
}

// Writes an address the way getsockname does: as much as fits, and how much there is.
Result answer_address(const Endpoint& endpoint, int family, SocketAddress* address, std::uint32_t* size) {
    if (!accessible(size)) {
        return failure(EFAULT);
    }
    if (static_cast<std::int32_t>(*size) < 0) {
        return failure(EINVAL);
    }
    SocketAddress answer{static_cast<std::uint16_t>(family), __builtin_bswap16(endpoint.port), endpoint.address, {}};
    const std::uint32_t whole = family == kFamilyInternet ? sizeof answer : sizeof answer.family;
    const std::uint32_t count = std::min(*size, whole);
    if (!accessible(address, count)) {
        return failure(EFAULT);
    }
    std::memcpy(address, &answer, count);
    *size = whole;
    return 0;
}

std::uint32_t status_flags_of(unsigned type_flags) {
    return O_RDWR | (type_flags & O_NONBLOCK);
}

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
    if (message->name != nullptr && socket.type() == SocketType::datagram) {
        Endpoint endpoint;
        if (const Result parsed = parse(message->name, message->name_size, endpoint); parsed.failed()) {
            return parsed;
        }
        to = endpoint;
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

Result accept_one(int fd, SocketAddress* address, std::uint32_t* size, unsigned flags) {
    if ((flags & ~unsigned{O_NONBLOCK | O_CLOEXEC}) != 0) {
        return failure(EINVAL);
    }
    return on_socket(fd, [&](Socket& socket) -> Result {
        FileReference<Socket> accepted;
        const Result result =
            blocking(socket, false, true, [&] { return socket.accept(status_flags_of(flags), accepted); });
        if (result.failed()) {
            return result;
        }
        if (address != nullptr) {
            const Result answered =
                answer_address(accepted->peer().value_or(Endpoint{}), socket.family(), address, size);
            if (answered.failed()) {
                return answered;
            }
        }
        return descriptors().add(FileReference<>(accepted.get()), (flags & O_CLOEXEC) != 0);
    });
}

}  // namespace

namespace {

// Like a Linux without that family; named once on the console.
Result no_family(int family) {
    constexpr int kFamilies = 64;
    static std::uint64_t named;
    static_assert(kFamilies == 8 * sizeof named);
    if (family >= 0 && family < kFamilies && (named >> family & 1) == 0) {
        named |= 1ULL << family;
        constexpr int kUnix = 1;
        constexpr int kInternet6 = 10;
        constexpr int kNetlink = 16;
        const char* name = family == kUnix        ? " (AF_UNIX)"
                           : family == kInternet6 ? " (AF_INET6)"
                           : family == kNetlink   ? " (AF_NETLINK)"
                                                  : "";
        console::print("understudy: sockets of family ", std::int64_t{family}, name, " are not supported\n");
    }
    return failure(EAFNOSUPPORT);
}

}  // namespace

Result sys_socketpair(int family) {
    return family == kFamilyInternet ? failure(EOPNOTSUPP) : no_family(family);
}

Result sys_socket(int family, unsigned type, int protocol) {
    constexpr unsigned kTypes = 11;  // SOCK_MAX
    if ((type & kTypeMask) >= kTypes || (type & ~(kTypeMask | O_NONBLOCK | O_CLOEXEC)) != 0) {
        return failure(EINVAL);
    }
    if (family != kFamilyInternet) {
        return no_family(family);
    }
    const std::uint32_t status_flags = status_flags_of(type);
    FileReference<Socket> socket;
    switch (static_cast<SocketType>(type & kTypeMask)) {
        case SocketType::stream:
            if (protocol != 0 && protocol != IPPROTO_TCP) {
                return failure(EPROTONOSUPPORT);
            }
            socket = make_stream_socket(status_flags);
            break;
        case SocketType::datagram:
            if (protocol != 0 && protocol != IPPROTO_UDP) {
                return failure(EPROTONOSUPPORT);
            }
            socket = make_datagram_socket(status_flags);
            break;
        default:
            return failure((type & kTypeMask) == kRawType ? EPERM : ESOCKTNOSUPPORT);
    }
    return socket ? descriptors().add(FileReference<>(socket.get()), (type & O_CLOEXEC) != 0) : failure(ENOBUFS);
}

Result sys_bind(int fd, const SocketAddress* address, std::uint32_t size) {
    return on_socket(fd, [&](Socket& socket) {
        Endpoint local;
        const Result parsed = parse(address, size, local);
        return parsed.failed() ? parsed : socket.bind(local);
    });
}

Result sys_listen(int fd, int backlog) {
    return on_socket(fd, [&](Socket& socket) { return socket.listen(backlog); });
}

Result sys_accept(int fd, SocketAddress* address, std::uint32_t* size) {
    return accept_one(fd, address, size, 0);
}
Result sys_accept4(int fd, SocketAddress* address, std::uint32_t* size, unsigned flags) {
    return accept_one(fd, address, size, flags);
}

Result sys_connect(int fd, const SocketAddress* address, std::uint32_t size) {
    return on_socket(fd, [&](Socket& socket) -> Result {
        std::optional<Endpoint> peer;
        if (size < sizeof address->family || !accessible(address, sizeof address->family)) {
            return failure(size < sizeof address->family ? EINVAL : EFAULT);
        }
        if (address->family != kFamilyUnspecified) {
            Endpoint endpoint;
            if (const Result parsed = parse(address, size, endpoint); parsed.failed()) {
                return parsed;
            }
            peer = endpoint;
        }
        const Result begun = socket.connect(peer);
        if (!(begun.is_error(EINPROGRESS) || begun.is_error(EALREADY)) || socket.nonblocking()) {
            return begun;
        }
        const Nanoseconds limit = socket.wait_limit(false);
        const Wake wake = wait_until([&] { return !socket.connecting(); }, limit == 0 ? kNever : after(now(), limit));
        if (wake != Wake::ready) {
            return failure(wake == Wake::interrupted ? EINTR : EINPROGRESS);
        }
        return socket.connect(peer);
    });
}

Result sys_sendto(int fd, const void* buffer, std::size_t size, unsigned flags, const SocketAddress* address,
                  std::uint32_t address_size) {
    return on_socket(fd, [&](Socket& socket) -> Result {
        const iovec piece{const_cast<void*>(buffer), std::min(size, kMaxTransfer)};
        if (piece.iov_len != 0 && !accessible(buffer, piece.iov_len)) {
            return failure(EFAULT);
        }
        std::optional<Endpoint> to;
        if (address != nullptr && socket.type() == SocketType::datagram) {
            Endpoint endpoint;
            if (const Result parsed = parse(address, address_size, endpoint); parsed.failed()) {
                return parsed;
            }
            to = endpoint;
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

namespace {
// struct mmsghdr.
struct CountedMessage {
    MessageHeader header;
    std::uint32_t length;
};
}  // namespace

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

Result sys_shutdown(int fd, int how) {
    return on_socket(fd, [&](Socket& socket) {
        return how < 0 || how > 2 ? failure(EINVAL) : socket.shutdown(static_cast<ShutdownHow>(how));
    });
}

Result sys_getsockname(int fd, SocketAddress* address, std::uint32_t* size) {
    return on_socket(fd,
                     [&](Socket& socket) { return answer_address(socket.local(), socket.family(), address, size); });
}

Result sys_getpeername(int fd, SocketAddress* address, std::uint32_t* size) {
    return on_socket(fd, [&](Socket& socket) {
        const auto peer = socket.peer();
        return peer ? answer_address(*peer, socket.family(), address, size) : failure(ENOTCONN);
    });
}

namespace {

struct Linger {
    std::int32_t on;
    std::int32_t seconds;
};

// Copies an option's value out, cut to what the program has room for.
Result answer_option(const void* from, std::uint32_t whole, void* value, std::uint32_t* size) {
    const std::uint32_t count = std::min(*size, whole);
    if (!accessible(value, count)) {
        return failure(EFAULT);
    }
    std::memcpy(value, from, count);
    *size = count;
    return 0;
}

Result answer_option(int from, void* value, std::uint32_t* size) {
    return answer_option(&from, sizeof from, value, size);
}

Result get_socket_option(Socket& socket, int option, void* value, std::uint32_t* size) {
    const SocketOptions& options = socket.options;
    switch (option) {
        case SO_ERROR:
            return answer_option(socket.take_error(), value, size);
        case SO_TYPE:
            return answer_option(static_cast<int>(socket.type()), value, size);
        case SO_DOMAIN:
            return answer_option(socket.family(), value, size);
        case SO_PROTOCOL:
            return answer_option(socket.type() == SocketType::stream ? IPPROTO_TCP : IPPROTO_UDP, value, size);
        case SO_ACCEPTCONN:
            return answer_option(socket.listening() ? 1 : 0, value, size);
        case SO_REUSEADDR:
            return answer_option(options.reuse_address ? 1 : 0, value, size);
        case SO_REUSEPORT:
            return answer_option(options.reuse_port ? 1 : 0, value, size);
        case SO_KEEPALIVE:
            return answer_option(options.keep_alive ? 1 : 0, value, size);
        case SO_BROADCAST:
            return answer_option(options.broadcast ? 1 : 0, value, size);
        case SO_RCVBUF:
            return answer_option(options.receive_buffer, value, size);
        case SO_SNDBUF:
            return answer_option(options.send_buffer, value, size);
        case SO_RCVLOWAT:
        case SO_SNDLOWAT:
            return answer_option(1, value, size);
        case SO_LINGER: {
            const Linger linger{options.linger ? 1 : 0, options.linger_seconds};
            return answer_option(&linger, sizeof linger, value, size);
        }
        case SO_RCVTIMEO:
        case SO_SNDTIMEO: {
            const Nanoseconds time = option == SO_RCVTIMEO ? options.receive_timeout : options.send_timeout;
            const Timeval answer{static_cast<std::int64_t>(time / kSecond),
                                 static_cast<std::int64_t>(time % kSecond / kMicrosecond)};
            return answer_option(&answer, sizeof answer, value, size);
        }
        case SO_OOBINLINE:
        case SO_PRIORITY:
        case SO_DONTROUTE:
        case SO_TIMESTAMP:
        case SO_INCOMING_CPU:
        case SO_BUSY_POLL:
        case SO_MARK:
            return answer_option(0, value, size);
        default:
            return failure(ENOPROTOOPT);
    }
}

// Linux doubles what is asked for, for its own bookkeeping, and tells so.
constexpr int kMinimumBuffer = 2304;
constexpr int kMaximumBuffer = 425984;
int buffer_size(int wanted) {
    return wanted < 0 || wanted > kMaximumBuffer / 2 ? kMaximumBuffer : std::max(2 * wanted, kMinimumBuffer);
}

Result set_timeout(Nanoseconds& timeout, const void* value, std::uint32_t size) {
    const auto* time = static_cast<const Timeval*>(value);
    if (size < sizeof *time) {
        return failure(EINVAL);
    }
    if (time->tv_usec < 0 || time->tv_usec >= 1'000'000) {
        return failure(EDOM);
    }
    timeout = time->tv_sec < 0 ? 1 : nanoseconds(Timespec{time->tv_sec, time->tv_usec * 1000});
    return 0;
}

Result set_socket_option(Socket& socket, int option, const void* value, std::uint32_t size) {
    SocketOptions& options = socket.options;
    const int number = size >= sizeof(int) ? *static_cast<const int*>(value) : 0;
    switch (option) {
        case SO_REUSEADDR:
            options.reuse_address = number != 0;
            break;
        case SO_REUSEPORT:
            options.reuse_port = number != 0;
            break;
        case SO_KEEPALIVE:
            options.keep_alive = number != 0;
            break;
        case SO_BROADCAST:
            options.broadcast = number != 0;
            break;
        case SO_RCVBUF:
        case SO_RCVBUFFORCE:
            options.receive_buffer = buffer_size(number);
            break;
        case SO_SNDBUF:
        case SO_SNDBUFFORCE:
            options.send_buffer = buffer_size(number);
            break;
        case SO_LINGER: {
            if (size < sizeof(Linger)) {
                return failure(EINVAL);
            }
            const auto* linger = static_cast<const Linger*>(value);
            options.linger = linger->on != 0;
            options.linger_seconds = linger->seconds;
            break;
        }
        case SO_RCVTIMEO:
            return set_timeout(options.receive_timeout, value, size);
        case SO_SNDTIMEO:
            return set_timeout(options.send_timeout, value, size);
        case SO_OOBINLINE:
        case SO_PRIORITY:
        case SO_DONTROUTE:
        case SO_RCVLOWAT:
        case SO_INCOMING_CPU:
        case SO_BUSY_POLL:
            break;  // hints
        default:
            return failure(ENOPROTOOPT);
    }
    if (size < sizeof(int)) {
        return failure(EINVAL);
    }
    socket.options_changed();
    return 0;
}

}  // namespace

Result sys_getsockopt(int fd, int level, int option, void* value, std::uint32_t* size) {
    return on_socket(fd, [&](Socket& socket) -> Result {
        if (!accessible(size)) {
            return failure(EFAULT);
        }
        if (static_cast<std::int32_t>(*size) < 0) {
            return failure(EINVAL);
        }
        if (level == SOL_SOCKET) {
            return get_socket_option(socket, option, value, size);
        }
        int number = 0;
        if (level != IPPROTO_IP && (level != IPPROTO_TCP || socket.type() != SocketType::stream)) {
            return failure(EOPNOTSUPP);
        }
        if (level == IPPROTO_TCP && option == TCP_CONGESTION) {
            constexpr char kName[16] = "reno";  // RFC 5681's, as lwIP does it
            return answer_option(kName, sizeof kName, value, size);
        }
        if (level == IPPROTO_TCP && option == TCP_INFO) {
            tcp_info info{};
            const Result informed = socket.inform(info);
            return informed.failed() ? informed : answer_option(&info, sizeof info, value, size);
        }
        const Result result = socket.get_option(level, option, number);
        return result.failed() ? result : answer_option(number, value, size);
    });
}

Result sys_setsockopt(int fd, int level, int option, const void* value, std::uint32_t size) {
    return on_socket(fd, [&](Socket& socket) -> Result {
        if (static_cast<std::int32_t>(size) < 0) {
            return failure(EINVAL);
        }
        if (!accessible(value, size)) {
            return failure(EFAULT);
        }
        if (level == SOL_SOCKET) {
            return set_socket_option(socket, option, value, size);
        }
        if (level != IPPROTO_IP && (level != IPPROTO_TCP || socket.type() != SocketType::stream)) {
            return failure(ENOPROTOOPT);
        }
        // IP options may come as one byte.
        if (size < sizeof(int) && !(level == IPPROTO_IP && size >= 1)) {
            return failure(EINVAL);
        }
        const int number =
            size >= sizeof(int) ? *static_cast<const int*>(value) : *static_cast<const std::uint8_t*>(value);
        return socket.set_option(level, option, number);
    });
}

}  // namespace understudy::kernel
