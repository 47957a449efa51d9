#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"

static struct sockaddr_in address(unsigned port) {
    struct sockaddr_in a;
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons((unsigned short)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static struct sockaddr_in local_of(int fd) {
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    getsockname(fd, (struct sockaddr*)&a, &size);
    return a;
}

static int listener(int backlog) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const struct sockaddr_in a = address(0);
    if (bind(fd, (const struct sockaddr*)&a, sizeof a) != 0 || listen(fd, backlog) != 0) {
        CHECK(!"a listener can be made");
    }
    return fd;
}

static int connect_to(int server, int flags) {
    const int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
    const struct sockaddr_in a = local_of(server);
    if (connect(fd, (const struct sockaddr*)&a, sizeof a) != 0 && errno != EINPROGRESS) {
        CHECK(!"a connection can be made");
    }
    return fd;
}

struct pair {
    int server;
    int client;
};
static struct pair connected(void) {
    const int l = listener(5);
    struct pair p;
    p.client = connect_to(l, 0);
    p.server = accept(l, NULL, NULL);
    close(l);
    return p;
}

static int events(int fd, short asked, int timeout) {
    struct pollfd entry = {fd, asked, 0};
    return poll(&entry, 1, timeout) < 0 ? -1 : entry.revents;
}

static void talking(void) {
    const int l = listener(5);
    CHECK(ntohs(local_of(l).sin_port) != 0);
    const int client = connect_to(l, 0);
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    const int server = accept4(l, (struct sockaddr*)&peer, &size, SOCK_NONBLOCK);
    CHECK(server >= 0 && size == sizeof peer);
    CHECK(peer.sin_family == AF_INET && peer.sin_port == local_of(client).sin_port &&
          peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    size = sizeof peer;
    CHECK_IS(getpeername(client, (struct sockaddr*)&peer, &size), 0);
    CHECK(peer.sin_port == local_of(l).sin_port);
    CHECK(fcntl(server, F_GETFL) & O_NONBLOCK);
    char bytes[100];
    CHECK_FAILS(read(server, bytes, sizeof bytes), EAGAIN);
    CHECK_IS(write(client, "hello ", 6), 6);
    CHECK_IS(send(client, "world", 5, MSG_MORE), 5);
    CHECK_IS(send(client, "!", 1, 0), 1);
    CHECK_IS(events(server, POLLIN, 1000) & POLLIN, POLLIN);
    CHECK_IS(recv(server, bytes, 5, MSG_PEEK), 5);
    int waiting = 0;
    for (int tries = 0; tries < 1000 && waiting < 12; ++tries) {  // Nagle's algorithm may hold back the rest
        usleep(1000);
        ioctl(server, FIONREAD, &waiting);
    }
    CHECK_IS(waiting, 12);
    CHECK_IS(recv(server, bytes, sizeof bytes, 0), 12);
    CHECK(memcmp(bytes, "hello world!", 12) == 0);
    struct iovec pieces[2] = {{"ab", 2}, {"cde", 3}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    CHECK_IS(sendmsg(server, &message, 0), 5);
    char a[3];
    char b[10];
    struct iovec places[2] = {{a, 3}, {b, 10}};
    message = (struct msghdr){.msg_iov = places, .msg_iovlen = 2};
    CHECK_IS(recvmsg(client, &message, 0), 5);
    CHECK(memcmp(a, "abc", 3) == 0 && memcmp(b, "de", 2) == 0);
    CHECK_IS(recv(client, bytes, 1, MSG_DONTWAIT), -1);
    CHECK_IS(errno, EAGAIN);
    close(client);
    close(server);
    close(l);
}

static void ending(void) {
    char bytes[16];
    struct pair p = connected();
    CHECK_IS(write(p.client, "last", 4), 4);
    CHECK_IS(shutdown(p.client, SHUT_WR), 0);
    CHECK_IS(read(p.server, bytes, sizeof bytes), 4);
    CHECK_IS(read(p.server, bytes, sizeof bytes), 0);
    CHECK_IS(read(p.server, bytes, sizeof bytes), 0);
    CHECK_IS(events(p.server, POLLIN | POLLRDHUP, 0), POLLIN | POLLRDHUP);
    CHECK_IS(write(p.server, "reply", 5), 5);  // half open
    CHECK_IS(read(p.client, bytes, sizeof bytes), 5);
    CHECK_FAILS(send(p.client, "x", 1, MSG_NOSIGNAL), EPIPE);
    close(p.server);
    CHECK_IS(read(p.client, bytes, sizeof bytes), 0);
    CHECK(events(p.client, POLLIN, 1000) & POLLHUP);
    close(p.client);

    // What the peer never read: a reset.
    p = connected();
    CHECK_IS(write(p.client, "unread", 6), 6);
    CHECK_IS(events(p.server, POLLIN, 1000), POLLIN);
    close(p.server);
    CHECK(events(p.client, POLLIN, 1000) & (POLLERR | POLLHUP));
    CHECK_FAILS(read(p.client, bytes, sizeof bytes), ECONNRESET);
    CHECK_IS(read(p.client, bytes, sizeof bytes), 0);
    CHECK_FAILS(send(p.client, "x", 1, MSG_NOSIGNAL), EPIPE);
    close(p.client);

    // The same by choice.
    p = connected();
    const struct linger now = {1, 0};
    CHECK_IS(setsockopt(p.server, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(p.server);
    CHECK(events(p.client, POLLIN, 1000) & POLLERR);
    int error = 0;
    socklen_t size = sizeof error;
    CHECK_IS(getsockopt(p.client, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    CHECK_IS(error, ECONNRESET);
    CHECK_IS(getsockopt(p.client, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    CHECK_IS(error, 0);
    close(p.client);

    p = connected();
    close(p.server);
    CHECK_IS(read(p.client, bytes, 1), 0);
    CHECK_IS(send(p.client, "x", 1, MSG_NOSIGNAL), 1);  // nobody there: answered by a reset
    usleep(50000);
    CHECK_FAILS(send(p.client, "x", 1, MSG_NOSIGNAL), EPIPE);
    close(p.client);

    p = connected();
    CHECK_IS(shutdown(p.client, SHUT_RD), 0);
    CHECK_IS(read(p.client, bytes, 1), 0);
    CHECK_IS(shutdown(p.client, SHUT_RDWR), 0);
    CHECK_IS(read(p.server, bytes, 1), 0);
    CHECK_FAILS(shutdown(p.client, 9), EINVAL);
    close(p.client);
    close(p.server);
}

static volatile sig_atomic_t pipe_signals;
static void on_pipe(int signal) {
    (void)signal;
    ++pipe_signals;
}

static void broken_pipe_signals(void) {
    signal(SIGPIPE, on_pipe);
    const struct pair p = connected();
    shutdown(p.client, SHUT_WR);
    CHECK_FAILS(write(p.client, "x", 1), EPIPE);
    CHECK_IS(pipe_signals, 1);
    CHECK_FAILS(send(p.client, "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_IS(pipe_signals, 1);
    close(p.client);
    close(p.server);
    signal(SIGPIPE, SIG_IGN);
}

static void connecting(void) {
    const int l = listener(5);
    const struct sockaddr_in there = local_of(l);
    int fd = connect_to(l, SOCK_NONBLOCK);
    CHECK_IS(events(fd, POLLOUT, 1000), POLLOUT);
    int error = 1;
    socklen_t size = sizeof error;
    CHECK_IS(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    CHECK_IS(error, 0);
    CHECK_IS(connect(fd, (const struct sockaddr*)&there, sizeof there), 0);
    CHECK_FAILS(connect(fd, (const struct sockaddr*)&there, sizeof there), EISCONN);
    close(fd);
    close(l);

    // Nobody listens any more.
    fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_FAILS(connect(fd, (const struct sockaddr*)&there, sizeof there), ECONNREFUSED);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK_FAILS(connect(fd, (const struct sockaddr*)&there, sizeof there), EINPROGRESS);
    CHECK(events(fd, POLLOUT, 1000) & POLLERR);
    CHECK_IS(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    CHECK_IS(error, ECONNREFUSED);
    close(fd);
}

static void mistakes(void) {
    char byte = 0;
    struct sockaddr_in a = address(0);
    socklen_t size = sizeof a;
    const int fresh = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_FAILS(read(fresh, &byte, 1), ENOTCONN);
    CHECK_FAILS(send(fresh, &byte, 1, MSG_NOSIGNAL), EPIPE);
    CHECK_FAILS(shutdown(fresh, SHUT_WR), ENOTCONN);
    CHECK_FAILS(getpeername(fresh, (struct sockaddr*)&a, &size), ENOTCONN);
    CHECK_FAILS(accept(fresh, NULL, NULL), EINVAL);
    CHECK_FAILS(bind(fresh, (const struct sockaddr*)&a, 3), EINVAL);
    a.sin_addr.s_addr = htonl(0x08080808);
    CHECK_FAILS(bind(fresh, (const struct sockaddr*)&a, sizeof a), EADDRNOTAVAIL);
    a.sin_family = 77;
    CHECK_FAILS(connect(fresh, (const struct sockaddr*)&a, sizeof a), EAFNOSUPPORT);
    const int l = listener(5);
    a = local_of(l);
    CHECK_FAILS(bind(fresh, (const struct sockaddr*)&a, sizeof a), EADDRINUSE);
    const int one = 1;
    CHECK_IS(setsockopt(fresh, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
    CHECK_FAILS(bind(fresh, (const struct sockaddr*)&a, sizeof a), EADDRINUSE);  // still listened on
    CHECK_FAILS(bind(l, (const struct sockaddr*)&a, sizeof a), EINVAL);
    CHECK_IS(listen(l, 7), 0);
    CHECK_FAILS(connect(99, (const struct sockaddr*)&a, sizeof a), EBADF);
    CHECK_FAILS(listen(0, 1), ENOTSOCK);
    CHECK_FAILS(socket(1234, SOCK_STREAM, 0), EAFNOSUPPORT);
    CHECK_FAILS(socket(AF_INET, 77, 0), EINVAL);
    CHECK_FAILS(socket(AF_INET, SOCK_STREAM, 17), EPROTONOSUPPORT);
    CHECK_FAILS(connect(fresh, (const struct sockaddr*)-4096, sizeof a), EFAULT);
    CHECK_FAILS(lseek(l, 0, SEEK_SET), ESPIPE);
    close(l);
    close(fresh);
}

static void options(void) {
    const struct pair p = connected();
    int value = 0;
    socklen_t size = sizeof value;
    CHECK_IS(getsockopt(p.client, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    CHECK_IS(value, 0);
    value = 1;
    CHECK_IS(setsockopt(p.client, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value), 0);
    CHECK_IS(setsockopt(p.client, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value), 0);
    value = 0;
    CHECK_IS(getsockopt(p.client, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    CHECK_IS(value, 1);
    CHECK_IS(getsockopt(p.client, SOL_SOCKET, SO_KEEPALIVE, &value, &size), 0);
    CHECK_IS(value, 1);
    value = 77;
    CHECK_IS(setsockopt(p.client, IPPROTO_TCP, TCP_KEEPIDLE, &value, sizeof value), 0);
    value = 0;
    CHECK_IS(getsockopt(p.client, IPPROTO_TCP, TCP_KEEPIDLE, &value, &size), 0);
    CHECK_IS(value, 77);
    CHECK_IS(getsockopt(p.client, SOL_SOCKET, SO_TYPE, &value, &size), 0);
    CHECK_IS(value, SOCK_STREAM);
    value = 20000;
    CHECK_IS(setsockopt(p.client, SOL_SOCKET, SO_RCVBUF, &value, sizeof value), 0);
    CHECK_IS(getsockopt(p.client, SOL_SOCKET, SO_RCVBUF, &value, &size), 0);
    CHECK_IS(value, 40000);
    const int l = listener(1);
    CHECK_IS(getsockopt(l, SOL_SOCKET, SO_ACCEPTCONN, &value, &size), 0);
    CHECK_IS(value, 1);
    close(l);
    CHECK_FAILS(getsockopt(p.client, SOL_SOCKET, 9999, &value, &size), ENOPROTOOPT);
    CHECK_FAILS(setsockopt(p.client, SOL_SOCKET, SO_REUSEADDR, &value, 1), EINVAL);
    // A bounded wait.
    const struct timeval time = {0, 20000};
    CHECK_IS(setsockopt(p.client, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), 0);
    char byte = 0;
    CHECK_FAILS(read(p.client, &byte, 1), EAGAIN);
    close(p.client);
    close(p.server);
}

// Many bytes through one connection, both ends in turn, with partial writes and reads.
static void bulk(void) {
    enum { kTotal = 4 << 20, kChunk = 50000 };
    static unsigned char chunk[kChunk];
    static unsigned char got[kChunk];
    const struct pair p = connected();
    fcntl(p.client, F_SETFL, O_NONBLOCK);
    fcntl(p.server, F_SETFL, O_NONBLOCK);
    // Hosts differ in how far they let buffers grow.
    const int buffer = 1 << 16;
    setsockopt(p.client, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    setsockopt(p.server, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    int sent = 0;
    int received = 0;
    int intact = 1;
    int refused = 0;
    while (received < kTotal) {
        while (sent < kTotal) {
            const int want = kTotal - sent < kChunk ? kTotal - sent : kChunk;
            for (int i = 0; i < want; ++i) {
                chunk[i] = (unsigned char)((sent + i) * 31 >> 3);
            }
            const ssize_t n = write(p.client, chunk, (size_t)want);
            if (n < 0) {
                refused += errno == EAGAIN;
                break;
            }
            sent += (int)n;
        }
        if (events(p.server, POLLIN, 5000) != POLLIN) {
            break;
        }
        for (ssize_t n = read(p.server, got, sizeof got); n > 0; n = read(p.server, got, sizeof got)) {
            for (int i = 0; i < n; ++i) {
                intact &= got[i] == (unsigned char)((received + i) * 31 >> 3);
            }
            received += (int)n;
        }
    }
    CHECK_IS(received, kTotal);
    CHECK(intact);
    CHECK(refused > 0);
    CHECK(events(p.client, POLLOUT, 1000) & POLLOUT);
    close(p.client);
    close(p.server);
}

static void many_connections(void) {
    enum { kCount = 300 };
    static int clients[kCount];
    static int servers[kCount];
    const int l = listener(kCount);
    int good = 0;
    for (int i = 0; i < kCount; ++i) {
        clients[i] = connect_to(l, 0);
        servers[i] = accept(l, NULL, NULL);
        good += clients[i] >= 0 && servers[i] >= 0;
    }
    CHECK_IS(good, kCount);
    int echoed = 0;
    for (int i = 0; i < kCount; ++i) {
        int value = i;
        int back = -1;
        echoed += write(clients[i], &value, sizeof value) == sizeof value &&
                  read(servers[i], &back, sizeof back) == sizeof back && back == i;
    }
    CHECK_IS(echoed, kCount);
    for (int i = 0; i < kCount; ++i) {
        close(clients[i]);
        close(servers[i]);
    }
    // Several wait at once.
    int accepted = 0;
    for (int i = 0; i < 50; ++i) {
        clients[i] = connect_to(l, 0);
    }
    for (int i = 0; i < 50; ++i) {
        servers[i] = accept(l, NULL, NULL);
        accepted += servers[i] >= 0;
        close(servers[i]);
        close(clients[i]);
    }
    CHECK_IS(accepted, 50);
    fcntl(l, F_SETFL, O_NONBLOCK);
    CHECK_FAILS(accept(l, NULL, NULL), EAGAIN);
    close(l);
}

// A connection between two ports that were connected a moment ago, and that the server closed first.
static void coming_back(void) {
    const int l = listener(5);
    const int on = 1;
    unsigned port = 0;
    for (int round = 0; round < 3; ++round) {
        const int client = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(client, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        struct sockaddr_in a = address(port);
        CHECK_IS(bind(client, (const struct sockaddr*)&a, sizeof a), 0);
        port = ntohs(local_of(client).sin_port);
        a = local_of(l);
        const struct timeval limit = {5, 0};
        setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        CHECK_IS(connect(client, (const struct sockaddr*)&a, sizeof a), 0);
        const int server = accept(l, NULL, NULL);
        char byte = 0;
        CHECK_IS(write(client, "c", 1), 1);
        CHECK_IS(read(server, &byte, 1), 1);
        CHECK_IS(close(server), 0);
        CHECK_IS(read(client, &byte, 1), 0);
        CHECK_IS(close(client), 0);
    }
    close(l);
}

// A reset does not take away what arrived before it.
static void reset_behind_data(void) {
    struct pair p = connected();
    char text[16];
    const struct linger at_once = {1, 0};
    CHECK_IS(setsockopt(p.client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    CHECK_IS(write(p.client, "request", 7), 7);
    CHECK_IS(recv(p.server, text, 1, MSG_PEEK), 1);
    close(p.client);
    struct pollfd wait = {p.server, POLLRDHUP, 0};
    CHECK_IS(poll(&wait, 1, 5000), 1);
    CHECK_IS(wait.revents, POLLERR | POLLHUP | POLLRDHUP);
    CHECK_IS(read(p.server, text, 3), 3);
    CHECK_IS(read(p.server, text, sizeof text), 4);
    CHECK_FAILS(read(p.server, text, sizeof text), ECONNRESET);
    CHECK_IS(read(p.server, text, sizeof text), 0);
    CHECK_FAILS(send(p.server, "x", 1, 0), EPIPE);
    close(p.server);
}

// Asked for no bytes, read answers at once and recv waits for some.
static void nothing_wanted(void) {
    struct pair p = connected();
    char byte = 0;
    CHECK_IS(read(p.server, &byte, 0), 0);
    CHECK_FAILS(recv(p.server, &byte, 0, MSG_DONTWAIT), EAGAIN);
    CHECK_IS(write(p.client, "x", 1), 1);
    CHECK_IS(recv(p.server, &byte, 0, 0), 0);
    CHECK_IS(recv(p.server, &byte, 1, 0), 1);
    close(p.client);
    close(p.server);
}

// What a program may ask of a connection.
static void telling(void) {
    struct pair p = connected();
    struct tcp_info info;
    socklen_t size = sizeof info;
    CHECK_IS(getsockopt(p.client, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    CHECK(info.tcpi_state == TCP_ESTABLISHED && info.tcpi_snd_mss > 500 && info.tcpi_snd_cwnd > 0);
    char name[16];
    size = sizeof name;
    CHECK_IS(getsockopt(p.client, IPPROTO_TCP, TCP_CONGESTION, name, &size), 0);
    int bytes = -1;
    CHECK_IS(ioctl(p.client, TIOCOUTQ, &bytes), 0);
    CHECK_IS(bytes, 0);
    int value = 0;
    size = sizeof value;
    CHECK_IS(getsockopt(p.client, IPPROTO_IP, IP_TTL, &value, &size), 0);
    CHECK_IS(value, 64);
    value = IP_PMTUDISC_DO;
    CHECK_IS(setsockopt(p.client, IPPROTO_IP, IP_MTU_DISCOVER, &value, sizeof value), 0);
    close(p.client);
    close(p.server);
    CHECK_FAILS(socket(AF_INET, SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT);
    CHECK_FAILS(socket(AF_INET, 99, 0), EINVAL);
}

// What is written while the socket is corked leaves together.
static void corked(void) {
    struct pair p = connected();
    char text[16];
    int on = 1;
    CHECK_IS(setsockopt(p.client, IPPROTO_TCP, TCP_CORK, &on, sizeof on), 0);
    int value = 0;
    socklen_t size = sizeof value;
    CHECK_IS(getsockopt(p.client, IPPROTO_TCP, TCP_CORK, &value, &size), 0);
    CHECK_IS(value, 1);
    CHECK_IS(write(p.client, "head", 4), 4);
    CHECK_IS(write(p.client, "body", 4), 4);
    on = 0;
    CHECK_IS(setsockopt(p.client, IPPROTO_TCP, TCP_CORK, &on, sizeof on), 0);
    CHECK_IS(read(p.server, text, sizeof text), 8);
    CHECK_IS(send(p.client, "head", 4, MSG_MORE), 4);
    CHECK_IS(send(p.client, "body", 4, 0), 4);
    CHECK_IS(read(p.server, text, sizeof text), 8);
    // Whole segments do not wait, and what is left is not kept for ever.
    static char block[100000];
    CHECK_IS(send(p.client, block, sizeof block, MSG_MORE), sizeof block);
    CHECK_IS(recv(p.server, block, sizeof block, MSG_WAITALL), sizeof block);
    CHECK_IS(send(p.client, "end", 3, MSG_MORE), 3);
    CHECK_IS(read(p.server, text, sizeof text), 3);
    close(p.client);
    close(p.server);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    coming_back();
    reset_behind_data();
    nothing_wanted();
    telling();
    corked();
    talking();
    ending();
    broken_pipe_signals();
    connecting();
    mistakes();
    options();
    bulk();
    many_connections();
    return verdict();
}
