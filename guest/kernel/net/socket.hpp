// Sockets as the system calls see them. Nothing here blocks: EAGAIN, EINPROGRESS say that there is something to wait
// for, and the calls wait (socket_calls.cpp, message_calls.cpp).
#pragma once

#include <cstdint>
#include <optional>

#include "guest/kernel/clock.hpp"
#include "guest/kernel/file.hpp"

struct tcp_info;

namespace understudy::kernel {

// Of the Linux interface.
constexpr int kFamilyInternet = 2;  // AF_INET
constexpr int kFamilyUnix = 1;      // AF_UNIX
constexpr int kFamilyUnspecified = 0;
enum class SocketType : int { stream = 1, datagram = 2 };

struct Endpoint {
    std::uint32_t address = 0;  // network byte order
    std::uint16_t port = 0;     // host byte order
};

enum MessageFlag : unsigned {
    kPeek = 0x2,
    kTruncated = 0x20,
    kDontWait = 0x40,
    kWaitAll = 0x100,
    kNoSignal = 0x4000,
    kMore = 0x8000,
};

enum class ShutdownHow : int { reading = 0, writing = 1, both = 2 };

// Options that only have to be remembered, or that every socket answers alike.
struct SocketOptions {
    bool reuse_address = false;
    bool reuse_port = false;
    bool keep_alive = false;
    bool broadcast = false;
    bool linger = false;
    int linger_seconds = 0;
    int receive_buffer = 212992;
    int send_buffer = 212992;
    Nanoseconds receive_timeout = 0;
    Nanoseconds send_timeout = 0;
};

class Socket : public File {
  public:
    explicit Socket(std::uint32_t status_flags) : File(status_flags) {}

    [[nodiscard]] virtual SocketType type() const = 0;
    [[nodiscard]] virtual int family() const { return kFamilyInternet; }
    virtual Result bind(const Endpoint& local) = 0;
    virtual Result listen(int backlog) = 0;
    // A file with one reference less than it needs: the descriptor takes it over. EAGAIN when none waits.
    virtual Result accept(std::uint32_t status_flags, FileReference<Socket>& accepted) = 0;
    // EINPROGRESS, then EALREADY while the answer is outstanding; the first call after it tells how it went. No peer
    // (AF_UNSPEC) dissolves a datagram socket's association.
    virtual Result connect(const std::optional<Endpoint>& peer) = 0;
    [[nodiscard]] virtual bool connecting() const { return false; }
    [[nodiscard]] virtual bool listening() const { return false; }
    virtual Result shutdown(ShutdownHow how) = 0;

    struct Received {
        std::optional<Endpoint> from;
        bool truncated = false;
    };
    virtual Result send(Buffers& from, unsigned flags, const std::optional<Endpoint>& to) = 0;
    virtual Result receive(Buffers& to, unsigned flags, Received& received) = 0;

    [[nodiscard]] virtual Endpoint local() const = 0;
    [[nodiscard]] virtual std::optional<Endpoint> peer() const = 0;
    // The pending error, taken.
    virtual int take_error() { return 0; }
    // An option of the protocol (levels IPPROTO_TCP and IPPROTO_IP), as an int; ENOPROTOOPT.
    virtual Result set_option(int level, int option, int value) = 0;
    virtual Result get_option(int level, int option, int& value) const = 0;
    // TCP_INFO; ENOPROTOOPT.
    virtual Result inform(tcp_info& /*info*/) const { return failure(ENOPROTOOPT); }
    // `options` has changed.
    virtual void options_changed() {}
    // Bytes that can be read at once, for FIONREAD.
    [[nodiscard]] virtual std::size_t available() const = 0;
    // Bytes that were sent and are not acknowledged, for SIOCOUTQ.
    [[nodiscard]] virtual std::size_t outstanding() const { return 0; }

    SocketOptions options;

    Result read(Buffers& to) override;
    Result write(Buffers& from) override;
    Result control(unsigned request, void* argument) override;
    void describe(struct stat& status) const override;
    [[nodiscard]] Nanoseconds wait_limit(bool reading) const override;
    Socket* as_socket() final { return this; }
};

FileReference<Socket> make_stream_socket(std::uint32_t status_flags);
FileReference<Socket> make_datagram_socket(std::uint32_t status_flags);

}  // namespace understudy::kernel
