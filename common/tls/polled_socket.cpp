#include "common/tls/polled_socket.hpp"

#include <openssl/err.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/system/error_code.hpp>
#include <cerrno>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/tls/openssl.hpp"

namespace understudy::tls {
namespace {

constexpr std::size_t kRecordBytes = 16U << 10;  // the most that one record of TLS carries

}  // namespace

struct PolledSocket::Tls {
    std::shared_ptr<Context> context;
    Connection connection;
    bool has_handshake = false;
    bool wants_to_write = false;      // something of the protocol's own
    std::vector<std::byte> unsent{};  // taken from the caller; OpenSSL wants to be given the same again

    // What a call that failed waits for; as errno.
    int reason(int result) {
        const int error = SSL_get_error(connection.get(), result);
        const int system = errno;
        wants_to_write = error == SSL_ERROR_WANT_WRITE;
        if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
            return EAGAIN;
        }
        if (error == SSL_ERROR_SYSCALL) {
            return system == 0 ? ECONNRESET : system;
        }
        return EPROTO;
    }

    [[nodiscard]] std::string failure(int reason) const {
        const auto code = static_cast<int>(ERR_get_error());
        const auto error = code != 0 ? boost::system::error_code(code, boost::asio::error::get_ssl_category())
                                     : boost::system::error_code(reason, boost::system::generic_category());
        return handshake_failure(connection.get(), error);
    }

    // 0, or errno.
    int flush() {
        while (!unsent.empty()) {
            ERR_clear_error();
            const int written = SSL_write(connection.get(), unsent.data(), static_cast<int>(unsent.size()));
            if (written <= 0) {
                return reason(written);
            }
            unsent.erase(unsent.begin(), unsent.begin() + written);
        }
        wants_to_write = false;
        return 0;
    }
};

PolledSocket::PolledSocket(FileDescriptor fd, std::shared_ptr<Context> context, Side side) : fd_(std::move(fd)) {
    if (!context) {
        return;
    }
    Connection connection(SSL_new(context->asio().native_handle()));
    if (!connection || SSL_set_fd(connection.get(), fd_.get()) != 1) {
        throw Error("OpenSSL has no memory for a connection");
    }
    if (side == Side::dialer) {
        SSL_set_connect_state(connection.get());
    } else {
        SSL_set_accept_state(connection.get());
    }
    tls_ = std::make_unique<Tls>(Tls{.context = std::move(context), .connection = std::move(connection)});
}

PolledSocket::~PolledSocket() = default;
PolledSocket::PolledSocket(PolledSocket&&) noexcept = default;
PolledSocket& PolledSocket::operator=(PolledSocket&&) noexcept = default;

PolledSocket::Handshake PolledSocket::handshake() {
    if (!tls_ || tls_->has_handshake) {
        return Handshake::done;
    }
    ERR_clear_error();
    errno = 0;
    const int result = SSL_do_handshake(tls_->connection.get());
    if (result == 1) {
        tls_->has_handshake = true;
        tls_->wants_to_write = false;
        return Handshake::done;
    }
    const int reason = tls_->reason(result);
    if (reason == EAGAIN) {
        return Handshake::under_way;
    }
    failure_ = tls_->failure(reason);
    return Handshake::failed;
}

std::optional<Identity> PolledSocket::peer() const {
    return tls_ ? peer_identity(tls_->connection.get()) : std::nullopt;
}

ssize_t PolledSocket::receive(std::span<std::byte> space) {
    if (!tls_) {
        return ::recv(fd_.get(), space.data(), space.size(), MSG_DONTWAIT);
    }
    ERR_clear_error();
    errno = 0;
    const auto size = static_cast<int>(std::min(space.size(), kRecordBytes));
    const int got = SSL_read(tls_->connection.get(), space.data(), size);
    if (got > 0) {
        tls_->wants_to_write = false;
        return got;
    }
    if (SSL_get_error(tls_->connection.get(), got) == SSL_ERROR_ZERO_RETURN) {
        return 0;
    }
    const int reason = tls_->reason(got);
    if (reason == EPROTO) {
        failure_ = tls_->failure(reason);
    }
    errno = reason;
    return -1;
}

bool PolledSocket::has_more() const {
    return tls_ && SSL_pending(tls_->connection.get()) > 0;
}

ssize_t PolledSocket::send(std::span<const iovec> parts) {
    if (!tls_) {
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(parts.data());
        message.msg_iovlen = parts.size();
        return ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (const int reason = tls_->flush(); reason != 0) {
        errno = reason;
        return -1;
    }
    for (const iovec& part : parts) {
        const auto* bytes = static_cast<const std::byte*>(part.iov_base);
        const std::size_t size = std::min(part.iov_len, kRecordBytes - tls_->unsent.size());
        tls_->unsent.insert(tls_->unsent.end(), bytes, bytes + size);
    }
    const auto taken = static_cast<ssize_t>(tls_->unsent.size());
    if (const int reason = tls_->flush(); reason != 0 && reason != EAGAIN) {
        errno = reason;
        return -1;
    }
    return taken;
}

bool PolledSocket::has_unsent() const {
    return tls_ && (tls_->wants_to_write || !tls_->unsent.empty());
}

}  // namespace understudy::tls
