#include "hypervisor/gateway/endpoint.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "common/address.hpp"
#include "common/error.hpp"

namespace understudy::network {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";
// A scan of ports must not cost a replica the second after which a turned-away SYN is sent again.
constexpr int kBacklog = 512;

const sockaddr* generic(const sockaddr_storage& address) {
    return std::bit_cast<const sockaddr*>(&address);
}
sockaddr* generic(sockaddr_storage& address) {
    return std::bit_cast<sockaddr*>(&address);
}

Endpoint unix_endpoint(std::string_view text) {
    const std::string_view path = text.substr(kUnixPrefix.size());
    sockaddr_un address{};
    if (path.empty() || path.size() >= sizeof address.sun_path) {
        throw Error::format("'{}': the path of a Unix socket has 1 to {} characters", text,
                            sizeof address.sun_path - 1);
    }
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, path.size());
    Endpoint endpoint{.text = std::string(text)};
    std::memcpy(&endpoint.address, &address, sizeof address);
    endpoint.length = sizeof address;
    return endpoint;
}

Address host_and_port(std::string_view text) {
    try {
        return parse_address(text);
    } catch (const Error& error) {
        throw Error::format("{}; or unix:PATH", error.what());
    }
}

Endpoint internet_endpoint(std::string_view text) {
    const Address address = host_and_port(text);
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    addrinfo* found = nullptr;
    if (const int status = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
        status != 0) {
        throw Error::format("cannot resolve '{}': {}", text, gai_strerror(status));
    }
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
    Endpoint endpoint{.text = std::string(text)};
    std::memcpy(&endpoint.address, found->ai_addr, found->ai_addrlen);
    endpoint.length = found->ai_addrlen;
    return endpoint;
}

// Whether a process still accepts connections at this Unix socket. A file without one is what a killed process leaves.
bool somebody_listens(const Endpoint& endpoint) {
    const FileDescriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return ::connect(probe.get(), generic(endpoint.address), endpoint.length) == 0 || errno != ECONNREFUSED;
}

void remove_stale_socket(const Endpoint& endpoint) {
    struct stat status {};
    const std::string path = endpoint.unix_path();
    if (::lstat(path.c_str(), &status) != 0) {
        return;
    }
    if (!S_ISSOCK(status.st_mode)) {
        throw Error::format("{} exists and is no socket: choose another path", path);
    }
    if (somebody_listens(endpoint)) {
        throw Error::format("another process already listens on {}: stop it or choose another path", path);
    }
    ::unlink(path.c_str());
}

}  // namespace

bool Endpoint::is_local() const {
    switch (address.ss_family) {
        case AF_UNIX:
            return true;
        case AF_INET:
            return (ntohl(std::bit_cast<const sockaddr_in*>(&address)->sin_addr.s_addr) >> 24U) == IN_LOOPBACKNET;
        case AF_INET6:
            return IN6_IS_ADDR_LOOPBACK(&std::bit_cast<const sockaddr_in6*>(&address)->sin6_addr);
        default:
            return false;
    }
}

std::string Endpoint::unix_path() const {
    if (!is_unix()) {
        return {};
    }
    return text.substr(kUnixPrefix.size());
}

std::uint16_t Endpoint::port() const {
    switch (address.ss_family) {
        case AF_INET:
            return ntohs(std::bit_cast<const sockaddr_in*>(&address)->sin_port);
        case AF_INET6:
            return ntohs(std::bit_cast<const sockaddr_in6*>(&address)->sin6_port);
        default:
            return 0;
    }
}

Endpoint parse_endpoint(std::string_view text) {
    return text.starts_with(kUnixPrefix) ? unix_endpoint(text) : internet_endpoint(text);
}

ListeningSocket::ListeningSocket(Endpoint endpoint, mode_t mode) : endpoint_(std::move(endpoint)) {
    if (endpoint_.is_unix()) {
        remove_stale_socket(endpoint_);
    }
    fd_.reset(::socket(endpoint_.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd_) {
        throw Error::from_errno("cannot make a socket", errno);
    }
    if (endpoint_.is_unix()) {
        ::fchmod(fd_.get(), mode);  // the file that bind() makes has the socket's
    } else {
        const int on = 1;
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    if (::bind(fd_.get(), generic(endpoint_.address), endpoint_.length) != 0 || ::listen(fd_.get(), kBacklog) != 0) {
        const int reason = errno;
        fd_.reset();
        throw Error::from_errno("cannot listen on " + endpoint_.text, reason);
    }
}

ListeningSocket::ListeningSocket(ListeningSocket&& other) noexcept = default;

ListeningSocket::~ListeningSocket() {
    if (fd_ && endpoint_.is_unix()) {
        ::unlink(endpoint_.unix_path().c_str());
    }
}

std::string ListeningSocket::text() const {
    if (endpoint_.is_unix()) {
        return endpoint_.text;
    }
    Endpoint bound{.text = {}, .length = sizeof bound.address};
    ::getsockname(fd_.get(), generic(bound.address), &bound.length);
    return endpoint_.text.substr(0, endpoint_.text.rfind(':') + 1) + std::to_string(bound.port());
}

FileDescriptor ListeningSocket::accept() const {
    FileDescriptor accepted(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted && !endpoint_.is_unix()) {
        const int on = 1;
        ::setsockopt(accepted.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    return accepted;
}

}  // namespace understudy::network
