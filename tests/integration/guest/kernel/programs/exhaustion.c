// Takes connections until the kernel has no memory for more, waits, gives all back, and expects that everything works
// again: the bulk of one connection, then as many connections as before.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

enum { kLimit = 30000 };
static int ends[2 * kLimit];

static int listener(struct sockaddr_in* address) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof *address;
    CHECK_IS(bind(fd, (struct sockaddr*)address, size), 0);
    CHECK_IS(listen(fd, 100), 0);
    CHECK_IS(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    CHECK_IS(getsockname(fd, (struct sockaddr*)address, &size), 0);
    return fd;
}

// Connects a pair; 0 where that fails.
static int connect_pair(int listener, const struct sockaddr_in* address, int* pair) {
    pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (pair[0] < 0) {
        return 0;
    }
    connect(pair[0], (const struct sockaddr*)address, sizeof *address);
    pair[1] = accept(listener, NULL, NULL);
    if (pair[1] < 0) {
        close(pair[0]);
        return 0;
    }
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    return 1;
}

static int connect_many(int listener, const struct sockaddr_in* address) {
    int count = 0;
    while (count < kLimit && connect_pair(listener, address, ends + 2 * count)) {
        ++count;
    }
    return count;
}

static void close_many(int count) {
    for (int i = 0; i < 2 * count; ++i) {
        close(ends[i]);
    }
    usleep(200000);
}

// Moves a megabyte through a connection.
static long bulk(const int* pair) {
    static char block[50000];
    long sent = 0;
    long got = 0;
    const long size = 1000000;
    for (int turns = 0; got < size && turns < 100000; ++turns) {
        const long out = sent < size ? write(pair[0], block, sizeof block) : 0;
        const long in = read(pair[1], block, sizeof block);
        sent += out > 0 ? out : 0;
        got += in > 0 ? in : 0;
        if (out <= 0 && in <= 0) {
            usleep(1000);
        }
    }
    return got;
}

int main(void) {
    struct sockaddr_in address;
    const int l = listener(&address);
    const int first = connect_many(l, &address);
    CHECK(first > 1000 && first < kLimit);
    usleep(500000);  // the network's timers run without memory
    // What is sent now finds none either.
    static const char block[50000];
    for (int i = 0; i < 2 * first; i += 100) {
        CHECK(write(ends[i], block, sizeof block) > 0 || errno == EAGAIN || errno == ENOBUFS);
    }
    close_many(first);
    CHECK(connect_pair(l, &address, ends));
    CHECK(bulk(ends) >= 1000000);
    close_many(1);
    const int second = connect_many(l, &address);
    printf("%d connections, then %d\n", first, second);
    CHECK(second > first / 4 * 3);  // some wait for the end of TIME_WAIT
    close_many(second);
    return verdict();
}
