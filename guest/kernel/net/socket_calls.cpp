// System calls that make sockets and connect them.
#include <linux/fcntl.h>
#include <linux/in.h>

#include "guest/kernel/blocking.hpp"
#include "guest/kernel/console.hpp"
#include "guest/kernel/net/socket_address.hpp"
#include "guest/kernel/net/socket_lookup.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

constexpr unsigned kTypeMask = 0xf;
constexpr unsigned kRawType = 3;

std::uint32_t status_flags_of(unsigned type_flags) {
    return O_RDWR | (type_flags & O_NONBLOCK);
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

// Like a Linux without that family; named once on the console.
Result no_family(int family) {
    constexpr int kFamilies = 64;
    static std::uint64_t named;
    static_assert(kFamilies == 8 * sizeof named);
    if (family >= 0 && family < kFamilies && (named >> family & 1) == 0) {
        named |= 1ULL << family;
        constexpr int kInternet6 = 10;
        constexpr int kNetlink = 16;
        const char* name = family == kFamilyUnix  ? " (AF_UNIX)"
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
        const Result parsed = parse_address(address, size, local);
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
            if (const Result parsed = parse_address(address, size, endpoint); parsed.failed()) {
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

}  // namespace understudy::kernel
