// System calls on the options of sockets.
#include <asm/socket.h>
#include <linux/in.h>
#include <linux/tcp.h>

#include <cstring>

#include "guest/kernel/linux.hpp"
#include "guest/kernel/net/socket_lookup.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

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
            const Timeval answer = timeval_of(time);
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
    timeout = time->tv_sec < 0 ? 1 : nanoseconds(*time);
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
