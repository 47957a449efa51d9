#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"

static void duplicates(void) {
    // Whoever starts this on the host may have left descriptors open.
    for (int fd = 3; fd < 256; ++fd) {
        close(fd);
    }
    const int null = open("/dev/null", O_RDWR);
    const int copy = dup(null);
    CHECK_IS(copy, null + 1);
    CHECK_IS(dup2(null, null + 5), null + 5);
    CHECK_IS(dup2(null, null), null);
    CHECK_FAILS(dup2(99, 5), EBADF);
    CHECK_FAILS(dup3(null, null, 0), EINVAL);
    CHECK_IS(dup3(null, null + 7, O_CLOEXEC), null + 7);
    CHECK_IS(fcntl(null + 7, F_GETFD), FD_CLOEXEC);
    CHECK_IS(fcntl(null, F_GETFD), 0);
    CHECK_IS(fcntl(null, F_SETFD, FD_CLOEXEC), 0);
    CHECK_IS(fcntl(null, F_GETFD), FD_CLOEXEC);
    CHECK_IS(fcntl(null, F_DUPFD, null + 6), null + 6);
    CHECK_IS(fcntl(null, F_DUPFD_CLOEXEC, 100), 100);
    CHECK_IS(fcntl(null, F_GETFL) & O_ACCMODE, O_RDWR);
    CHECK_IS(fcntl(null, F_SETFL, O_NONBLOCK), 0);
    CHECK(fcntl(copy, F_GETFL) & O_NONBLOCK);  // one description behind both
    CHECK_FAILS(fcntl(99, F_GETFL), EBADF);
    CHECK_FAILS(fcntl(null, 9999), EINVAL);
    CHECK_IS(close(copy), 0);
    CHECK_IS(dup(null), copy);  // the lowest free one
    CHECK_FAILS(dup(-1), EBADF);
}

static void pipes(void) {
    int ends[2];
    char bytes[16];
    CHECK_IS(pipe(ends), 0);
    CHECK_IS(write(ends[1], "abc", 3), 3);
    int waiting = 0;
    CHECK_IS(ioctl(ends[0], FIONREAD, &waiting), 0);
    CHECK_IS(waiting, 3);
    CHECK_IS(read(ends[0], bytes, 2), 2);
    CHECK_IS(read(ends[0], bytes, 5), 1);
    CHECK_FAILS(read(ends[1], bytes, 1), EBADF);
    CHECK_FAILS(write(ends[0], bytes, 1), EBADF);
    CHECK_FAILS(lseek(ends[0], 0, SEEK_SET), ESPIPE);
    CHECK_IS(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    CHECK_FAILS(read(ends[0], bytes, 1), EAGAIN);
    CHECK_IS(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    static char block[4096];
    int blocks = 0;
    while (write(ends[1], block, sizeof block) == sizeof block) {
        ++blocks;
    }
    CHECK_IS(errno, EAGAIN);
    CHECK_IS(blocks, 16);
    CHECK_IS(read(ends[0], block, 100), 100);
    CHECK_FAILS(write(ends[1], block, 4096), EAGAIN);  // whole or not at all
    CHECK_IS(close(ends[1]), 0);
    int total = 100;
    for (ssize_t got = read(ends[0], block, sizeof block); got > 0; got = read(ends[0], block, sizeof block)) {
        total += (int)got;
    }
    CHECK_IS(total, 65536);
    CHECK_IS(read(ends[0], block, 1), 0);
    CHECK_IS(close(ends[0]), 0);

    CHECK_IS(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    CHECK_IS(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
    CHECK_IS(close(ends[0]), 0);
    signal(SIGPIPE, SIG_IGN);
    CHECK_FAILS(write(ends[1], "x", 1), EPIPE);
    struct pollfd entry = {ends[1], POLLOUT, 0};
    CHECK_IS(poll(&entry, 1, 0), 1);
    CHECK(entry.revents & POLLERR);
    CHECK_IS(close(ends[1]), 0);
    CHECK_FAILS(pipe2(ends, 0x12345), EINVAL);
}

static void events(void) {
    unsigned long long value = 0;
    int fd = eventfd(3, EFD_NONBLOCK);
    CHECK_IS(read(fd, &value, 8), 8);
    CHECK_IS(value, 3);
    CHECK_FAILS(read(fd, &value, 8), EAGAIN);
    value = 5;
    CHECK_IS(write(fd, &value, 8), 8);
    CHECK_IS(write(fd, &value, 8), 8);
    CHECK_IS(read(fd, &value, 8), 8);
    CHECK_IS(value, 10);
    CHECK_FAILS(read(fd, &value, 7), EINVAL);
    value = ~0ULL;
    CHECK_FAILS(write(fd, &value, 8), EINVAL);
    value = ~0ULL - 1;
    CHECK_IS(write(fd, &value, 8), 8);
    value = 1;
    CHECK_FAILS(write(fd, &value, 8), EAGAIN);
    struct pollfd entry = {fd, POLLIN | POLLOUT, 0};
    CHECK_IS(poll(&entry, 1, 0), 1);
    CHECK_IS(entry.revents, POLLIN);
    close(fd);
    fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    CHECK_IS(read(fd, &value, 8), 8);
    CHECK_IS(value, 1);
    CHECK_IS(read(fd, &value, 8), 8);
    CHECK_FAILS(read(fd, &value, 8), EAGAIN);
    close(fd);
}

static void writing_in_pieces(void) {
    int ends[2];
    char bytes[16] = {0};
    CHECK_IS(pipe(ends), 0);
    const struct iovec pieces[] = {{"ab", 2}, {"", 0}, {"cde", 3}};
    CHECK_IS(writev(ends[1], pieces, 3), 5);
    CHECK_IS(read(ends[0], bytes, sizeof bytes), 5);
    CHECK(memcmp(bytes, "abcde", 5) == 0);
    CHECK_FAILS(writev(ends[1], pieces, -1), EINVAL);
    CHECK_FAILS(writev(ends[1], pieces, 2000), EINVAL);
    const struct iovec wild = {(void*)-4096, 10};
    CHECK_FAILS(writev(ends[1], &wild, 1), EFAULT);
    CHECK_FAILS(write(ends[1], NULL, 1), EFAULT);
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    duplicates();
    pipes();
    events();
    writing_in_pieces();
    return verdict();
}
