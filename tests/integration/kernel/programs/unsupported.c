// Asks twice for what the guest kernel does not have.
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void) {
    return syscall(SYS_fork) == -1 && errno == ENOSYS && syscall(SYS_fork) == -1 ? 0 : 1;
}
