#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"

static int bound(struct sockaddr_in* a) {
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    memset(a, 0, sizeof *a);
    a->sin_family = AF_INET;
    a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof *a;
    if (bind(fd, (const struct sockaddr*)a, sizeof *a) != 0 || getsockname(fd, (struct sockaddr*)a, &size) != 0) {
        CHECK(!"a socket can be bound");
    }
    return fd;
}

int main(void) {
    struct sockaddr_in at_a;
    struct sockaddr_in at_b;
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    char bytes[100];
    const int a = bound(&at_a);
    const int b = bound(&at_b);
    CHECK(at_a.sin_port != at_b.sin_port);

    // Datagrams keep their bounds and tell where they are from.
    CHECK_IS(sendto(a, "one", 3, 0, (struct sockaddr*)&at_b, sizeof at_b), 3);
    CHECK_IS(sendto(a, "", 0, 0, (struct sockaddr*)&at_b, sizeof at_b), 0);
    CHECK_IS(sendto(a, "three", 5, 0, (struct sockaddr*)&at_b, sizeof at_b), 5);
    CHECK_IS(recvfrom(b, bytes, sizeof bytes, MSG_PEEK, (struct sockaddr*)&from, &size), 3);
    CHECK(from.sin_port == at_a.sin_port && from.sin_addr.s_addr == at_a.sin_addr.s_addr && size == sizeof from);
    CHECK_IS(recv(b, bytes, 2, MSG_TRUNC), 3);
    CHECK_IS(recv(b, bytes, sizeof bytes, 0), 0);
    CHECK_IS(recv(b, bytes, 3, 0), 3);  // the rest is lost
    CHECK(memcmp(bytes, "thr", 3) == 0);
    CHECK_FAILS(recv(b, bytes, sizeof bytes, MSG_DONTWAIT), EAGAIN);

    // Messages in pieces.
    struct iovec pieces[2] = {{"ab", 2}, {"cd", 2}};
    struct msghdr message = {.msg_name = &at_b, .msg_namelen = sizeof at_b, .msg_iov = pieces, .msg_iovlen = 2};
    CHECK_IS(sendmsg(a, &message, 0), 4);
    struct iovec place = {bytes, 3};
    memset(&from, 0, sizeof from);
    message = (struct msghdr){.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &place, .msg_iovlen = 1};
    CHECK_IS(recvmsg(b, &message, 0), 3);
    CHECK(message.msg_flags & MSG_TRUNC);
    CHECK(from.sin_port == at_a.sin_port);

    // A connected socket hears its peer alone.
    CHECK_FAILS(send(a, "x", 1, 0), EDESTADDRREQ);
    CHECK_IS(connect(a, (struct sockaddr*)&at_b, sizeof at_b), 0);
    CHECK_IS(send(a, "y", 1, 0), 1);
    CHECK_IS(recv(b, bytes, sizeof bytes, 0), 1);
    struct sockaddr_in at_c;
    const int c = bound(&at_c);
    CHECK_IS(sendto(c, "stranger", 8, 0, (struct sockaddr*)&at_a, sizeof at_a), 8);
    CHECK_IS(sendto(b, "friend", 6, 0, (struct sockaddr*)&at_a, sizeof at_a), 6);
    CHECK_IS(recv(a, bytes, sizeof bytes, 0), 6);
    size = sizeof from;
    CHECK_IS(getpeername(a, (struct sockaddr*)&from, &size), 0);
    CHECK(from.sin_port == at_b.sin_port);
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    CHECK_IS(connect(a, &nobody, sizeof nobody), 0);
    CHECK_FAILS(getpeername(a, (struct sockaddr*)&from, &size), ENOTCONN);

    // Larger than a frame.
    static unsigned char large[30000];
    static unsigned char got[30000];
    for (unsigned i = 0; i < sizeof large; ++i) {
        large[i] = (unsigned char)(i * 7 >> 2);
    }
    CHECK_IS(sendto(a, large, sizeof large, 0, (struct sockaddr*)&at_b, sizeof at_b), sizeof large);
    CHECK_IS(recv(b, got, sizeof got, 0), sizeof large);
    CHECK(memcmp(large, got, sizeof large) == 0);
    static char huge[70000];
    CHECK_FAILS(sendto(a, huge, sizeof huge, 0, (struct sockaddr*)&at_b, sizeof at_b), EMSGSIZE);

    struct pollfd entry = {b, POLLIN | POLLOUT, 0};
    CHECK_IS(poll(&entry, 1, 0), 1);
    CHECK_IS(entry.revents, POLLOUT);
    CHECK_FAILS(bind(c, (struct sockaddr*)&at_a, sizeof at_a), EINVAL);
    const int d = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK_FAILS(bind(d, (struct sockaddr*)&at_b, sizeof at_b), EADDRINUSE);
    CHECK_FAILS(listen(d, 1), EOPNOTSUPP);
    CHECK_FAILS(accept(d, NULL, NULL), EOPNOTSUPP);
    int type = 0;
    size = sizeof type;
    CHECK_IS(getsockopt(d, SOL_SOCKET, SO_TYPE, &type, &size), 0);
    CHECK_IS(type, SOCK_DGRAM);
    return verdict();
}
