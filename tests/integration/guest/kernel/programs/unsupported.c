// Asks twice for what the guest kernel does not have.
#define _GNU_SOURCE
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(long answer, int error) {
    return answer == -1 && errno == error;
}

int main(void) {
    for (int round = 0; round < 2; ++round) {
        int pair[2];
        if (!fails(syscall(SYS_fork), EAGAIN) || !fails(syscall(SYS_io_setup, 1, 0), ENOSYS) ||
            !fails(socket(AF_INET6, SOCK_STREAM, 0), EAFNOSUPPORT) ||
            !fails(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), EAFNOSUPPORT) ||
            !fails(socketpair(AF_INET, SOCK_STREAM, 0, pair), EOPNOTSUPP)) {
            return 1;
        }
    }
    return 0;
}
