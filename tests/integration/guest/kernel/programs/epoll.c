#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static int ends[2];
static struct epoll_event got[16];

static void put(int count) {
    while (count-- > 0) {
        if (write(ends[1], "x", 1) != 1) {
            CHECK(!"a byte can be written");
        }
    }
}
static void take(int count) {
    char bytes[100];
    if (read(ends[0], bytes, (size_t)count) != count) {
        CHECK(!"the bytes can be read");
    }
}
static int control(int epoll, int operation, int fd, unsigned events, unsigned long long data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(epoll, operation, fd, &event);
}

static void levels_and_edges(void) {
    CHECK_IS(pipe2(ends, O_NONBLOCK), 0);
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    CHECK_IS(fcntl(epoll, F_GETFD), FD_CLOEXEC);
    CHECK_IS(control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN, 77), 0);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 0);
    put(2);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 1);
    CHECK(got[0].events == EPOLLIN && got[0].data.u64 == 77);
    take(1);
    CHECK_IS(epoll_wait(epoll, got, 16, -1), 1);  // still one byte
    take(1);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 0);

    CHECK_IS(control(epoll, EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLET, 78), 0);
    put(1);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 1);
    CHECK_IS(got[0].data.u64, 78);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 0);
    put(1);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 1);
    CHECK_IS(control(epoll, EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLET, 79), 0);  // is asked again
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 1);

    CHECK_IS(control(epoll, EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLONESHOT, 80), 0);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 1);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 0);
    put(1);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 0);
    CHECK_IS(control(epoll, EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLONESHOT, 81), 0);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 1);

    CHECK_IS(control(epoll, EPOLL_CTL_MOD, ends[0], 0, 82), 0);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 0);
    CHECK_IS(control(epoll, EPOLL_CTL_ADD, ends[1], EPOLLOUT, 83), 0);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 1);
    CHECK(got[0].events == EPOLLOUT && got[0].data.u64 == 83);
    close(ends[1]);  // leaves the set; the reader sees the end, asked for or not
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 1);
    CHECK(got[0].events == EPOLLHUP && got[0].data.u64 == 82);
    close(ends[0]);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 0);
    close(epoll);
}

static void mistakes(void) {
    CHECK_IS(pipe2(ends, O_NONBLOCK), 0);
    const int epoll = epoll_create(1);
    CHECK_FAILS(syscall(SYS_epoll_create, 0), EINVAL);
    CHECK_FAILS(epoll_create1(12345), EINVAL);
    CHECK_FAILS(control(epoll, EPOLL_CTL_MOD, ends[0], EPOLLIN, 0), ENOENT);
    CHECK_FAILS(epoll_ctl(epoll, EPOLL_CTL_DEL, ends[0], NULL), ENOENT);
    CHECK_IS(control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN, 0), 0);
    CHECK_FAILS(control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN, 0), EEXIST);
    CHECK_FAILS(control(epoll, EPOLL_CTL_ADD, 99, EPOLLIN, 0), EBADF);
    CHECK_FAILS(control(99, EPOLL_CTL_ADD, ends[0], EPOLLIN, 0), EBADF);
    CHECK_FAILS(control(ends[0], EPOLL_CTL_ADD, ends[1], EPOLLIN, 0), EINVAL);
    CHECK_FAILS(control(epoll, EPOLL_CTL_ADD, epoll, EPOLLIN, 0), EINVAL);
    CHECK_FAILS(control(epoll, 9, ends[0], EPOLLIN, 0), EINVAL);
    const int null = open("/dev/null", O_RDWR);
    CHECK_FAILS(control(epoll, EPOLL_CTL_ADD, null, EPOLLIN, 0), EPERM);
    CHECK_FAILS(epoll_wait(epoll, got, 0, 0), EINVAL);
    CHECK_FAILS(epoll_wait(99, got, 1, 0), EBADF);
    CHECK_FAILS(epoll_wait(epoll, (void*)-4096, 1, 0), EFAULT);
    CHECK_IS(epoll_ctl(epoll, EPOLL_CTL_DEL, ends[0], NULL), 0);
    put(1);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 0);
    close(null);
    close(ends[0]);
    close(ends[1]);
    close(epoll);
}

static void many_files(void) {
    enum { kFiles = 100 };
    int files[kFiles];
    const int epoll = epoll_create1(0);
    for (int i = 0; i < kFiles; ++i) {
        files[i] = eventfd(0, EFD_NONBLOCK);
        control(epoll, EPOLL_CTL_ADD, files[i], EPOLLIN, (unsigned)i);
    }
    const unsigned long long one = 1;
    for (int i = 0; i < kFiles; i += 10) {
        CHECK_IS(write(files[i], &one, sizeof one), 8);
    }
    // A small array gets to all of them in turn.
    unsigned seen = 0;
    for (int round = 0; round < 5; ++round) {
        const int count = epoll_wait(epoll, got, 2, 0);
        for (int i = 0; i < count; ++i) {
            seen |= 1U << got[i].data.u64 / 10;
        }
    }
    CHECK_IS(seen, 0x3ff);
    CHECK_IS(epoll_wait(epoll, got, 16, 0), 10);
    // An instance can be watched like any file.
    struct pollfd entry = {epoll, POLLIN, 0};
    CHECK_IS(poll(&entry, 1, 0), 1);
    const int outer = epoll_create1(0);
    CHECK_IS(control(outer, EPOLL_CTL_ADD, epoll, EPOLLIN, 5), 0);
    CHECK_IS(epoll_wait(outer, got, 16, 0), 1);
    CHECK_FAILS(control(epoll, EPOLL_CTL_ADD, outer, EPOLLIN, 5), ELOOP);
    for (int i = 0; i < kFiles; ++i) {
        close(files[i]);
    }
    CHECK_IS(epoll_wait(outer, got, 16, 0), 0);
    close(epoll);
    close(outer);
}

static void waiting(void) {
    const int epoll = epoll_create1(0);
    struct timespec start;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    CHECK_IS(epoll_wait(epoll, got, 16, 20), 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    CHECK((end.tv_sec - start.tv_sec) * 1000000000 + end.tv_nsec - start.tv_nsec >= 20000000);
    const int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    const struct itimerspec soon = {{0, 0}, {0, 10000000}};
    timerfd_settime(timer, 0, &soon, NULL);
    control(epoll, EPOLL_CTL_ADD, timer, EPOLLIN, 9);
    CHECK_IS(epoll_wait(epoll, got, 16, 10000), 1);
    CHECK_IS(got[0].data.u64, 9);
    close(timer);
    close(epoll);
}

static void poll_and_select(void) {
    CHECK_IS(pipe2(ends, O_NONBLOCK), 0);
    struct pollfd entries[3] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}, {-1, POLLIN, 9}};
    CHECK_IS(poll(entries, 3, 0), 1);
    CHECK(entries[0].revents == 0 && entries[1].revents == POLLOUT && entries[2].revents == 0);
    entries[2].fd = 99;
    CHECK_IS(poll(entries, 3, -1), 2);
    CHECK_IS(entries[2].revents, POLLNVAL);
    put(1);
    CHECK_IS(ppoll(entries, 1, &(struct timespec){0, 0}, NULL), 1);
    fd_set reading;
    fd_set writing;
    FD_ZERO(&reading);
    FD_ZERO(&writing);
    FD_SET(ends[0], &reading);
    FD_SET(ends[1], &writing);
    CHECK_IS(select(ends[1] + 1, &reading, &writing, NULL, NULL), 2);
    CHECK(FD_ISSET(ends[0], &reading) && FD_ISSET(ends[1], &writing));
    take(1);
    FD_CLR(ends[1], &writing);
    struct timeval time = {0, 10000};
    CHECK_IS(syscall(SYS_select, ends[1] + 1, &reading, NULL, NULL, &time), 0);
    CHECK(!FD_ISSET(ends[0], &reading));
    CHECK(time.tv_sec == 0 && time.tv_usec == 0);
    FD_SET(ends[0], &reading);
    close(ends[1]);
    CHECK_IS(pselect(ends[0] + 1, &reading, NULL, NULL, &(struct timespec){1, 0}, NULL), 1);  // the end can be read
    CHECK_IS(poll(entries, 1, 0), 1);
    CHECK_IS(entries[0].revents, POLLHUP);
    FD_SET(40, &reading);
    CHECK_FAILS(select(41, &reading, NULL, NULL, NULL), EBADF);
    CHECK_FAILS(select(-1, NULL, NULL, NULL, NULL), EINVAL);
    CHECK_FAILS(poll((void*)-4096, 1, 0), EFAULT);
    close(ends[0]);
}

int main(void) {
    levels_and_edges();
    mistakes();
    many_files();
    waiting();
    poll_and_select();
    return verdict();
}
