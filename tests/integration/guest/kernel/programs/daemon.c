// What servers do before they serve: limits, locks, priorities, becoming another user. As root, in the guest always.
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static void limits(void) {
    struct rlimit limit;
    CHECK_IS(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit wrong = {50, 40};
    CHECK_FAILS(setrlimit(RLIMIT_NOFILE, &wrong), EINVAL);
    const struct rlimit lower = {50, limit.rlim_max};
    CHECK_IS(setrlimit(RLIMIT_NOFILE, &lower), 0);
    CHECK_IS(getrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_IS(limit.rlim_cur, 50);
    CHECK_FAILS(dup2(0, 50), EBADF);
    CHECK_IS(dup2(0, 49), 49);
    CHECK_FAILS(fcntl(0, F_DUPFD, 50), EINVAL);
    CHECK_FAILS(fcntl(0, F_DUPFD, 49), EMFILE);
    close(49);
    int opened = 0;
    while (dup(0) >= 0) {
        ++opened;
    }
    CHECK(errno == EMFILE && opened > 20 && opened < 50);
    for (int fd = 3; fd < 50; ++fd) {
        close(fd);
    }
    const struct rlimit none = {0, 0};
    CHECK_IS(setrlimit(RLIMIT_CORE, &none), 0);
}

static void priorities(void) {
    // The host's may be anything that the test was started with; upwards is the way that everybody may go.
    errno = 0;
    CHECK(getpriority(PRIO_PROCESS, 0) <= 19);
    CHECK_IS(errno, 0);
    CHECK_IS(setpriority(PRIO_PROCESS, 0, 19), 0);
    CHECK_IS(getpriority(PRIO_PROCESS, 0), 19);
    CHECK_FAILS(getpriority(99, 0), EINVAL);
    struct sched_param parameter = {0};
    CHECK_IS(syscall(SYS_sched_getscheduler, 0), SCHED_OTHER);
    CHECK_IS(syscall(SYS_sched_getparam, 0, &parameter), 0);
    CHECK_IS(parameter.sched_priority, 0);
    CHECK_IS(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &parameter), 0);
    CHECK_FAILS(syscall(SYS_sched_setscheduler, 0, 77, &parameter), EINVAL);
    CHECK_IS(sched_get_priority_max(SCHED_FIFO), 99);
    CHECK_IS(sched_get_priority_min(SCHED_RR), 1);
    CHECK_IS(sched_get_priority_max(SCHED_OTHER), 0);
    CHECK_FAILS(sched_get_priority_max(77), EINVAL);
}

static void files(void) {
    const int fd = open("text", O_RDONLY);
    CHECK_IS(flock(fd, LOCK_EX | LOCK_NB), 0);
    CHECK_IS(flock(fd, LOCK_UN), 0);
    CHECK_FAILS(flock(fd, 77), EINVAL);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    CHECK_IS(fcntl(fd, F_GETLK, &lock), 0);
    CHECK_IS(lock.l_type, F_UNLCK);
    CHECK_IS(fsync(fd), 0);
    CHECK_FAILS(ftruncate(fd, 0), EINVAL);
    close(fd);
    CHECK_FAILS(flock(fd, LOCK_EX), EBADF);
    CHECK_FAILS(fsync(fd), EBADF);
    sync();
    // A directory that is there is what most want.
    CHECK_FAILS(mkdir("folder", 0755), EEXIST);
    CHECK_FAILS(mkdir("folder/", 0755), EEXIST);
    CHECK_FAILS(mkdir("missing/folder", 0755), ENOENT);
    CHECK_FAILS(mkdir("text/folder", 0755), ENOTDIR);
    CHECK_FAILS(mkdir("", 0755), ENOENT);
    CHECK_FAILS(symlink("text", "link"), EEXIST);
    CHECK_FAILS(link("missing", "new"), ENOENT);
    CHECK_FAILS(link("text", "big"), EEXIST);
    CHECK_FAILS(open("missing/file", O_CREAT | O_WRONLY, 0644), ENOENT);
    CHECK_FAILS(unlink("missing/file"), ENOENT);
    CHECK_FAILS(rmdir("text/file"), ENOTDIR);
    CHECK_FAILS(rename("missing/file", "text"), ENOENT);
    CHECK_FAILS(chmod("missing", 0644), ENOENT);
    CHECK_FAILS(chown("missing", 0, 0), ENOENT);
    CHECK_FAILS(truncate("missing", 0), ENOENT);
    CHECK_FAILS(utimensat(AT_FDCWD, "missing", NULL, 0), ENOENT);
    CHECK_FAILS(fchmod(99, 0644), EBADF);
    const int folder = open("folder", O_RDONLY | O_DIRECTORY);
    const int root = open(".", O_RDONLY | O_DIRECTORY);
    CHECK_IS(fchdir(folder), 0);
    CHECK_IS(access("inner", R_OK), 0);
    CHECK_FAILS(fchdir(99), EBADF);
    const int inner = open("inner", O_RDONLY);
    CHECK_FAILS(fchdir(inner), ENOTDIR);
    CHECK_IS(fchdir(root), 0);
    close(folder);
    close(root);
    close(inner);
}

static void children(void) {
    CHECK_FAILS(wait(NULL), ECHILD);
    CHECK_FAILS(waitpid(-1, NULL, WNOHANG), ECHILD);
}

// Last: afterwards the process is nobody.
static void another_user(void) {
    const int root = geteuid() == 0;
    uid_t ids[3];
    gid_t group = 77;
    CHECK(!root || (setgroups(1, &group) == 0 && getgroups(0, NULL) == 1));
    CHECK(!root || (getgroups(1, ids) == 1 && ids[0] == 77));
    CHECK(!root || prctl(PR_SET_KEEPCAPS, 0) == 0);
    CHECK(!root || (setregid(-1, 55) == 0 && getegid() == 55 && getgid() == 0));
    CHECK(!root || setresgid(1000, 1000, 1000) == 0);
    CHECK(!root || (seteuid(1000) == 0 && geteuid() == 1000 && getuid() == 0));
    CHECK(!root || (seteuid(0) == 0 && geteuid() == 0));
    CHECK(!root || setresuid(1000, 1000, 1000) == 0);
    CHECK(!root || (getuid() == 1000 && geteuid() == 1000 && getgid() == 1000 && getegid() == 1000));
    CHECK_IS(getresuid(ids, ids + 1, ids + 2), 0);
    CHECK_IS(ids[2], getuid());
    CHECK_FAILS(setuid(0), EPERM);
    CHECK_FAILS(seteuid(0), EPERM);
    CHECK_FAILS(setgroups(0, NULL), EPERM);
    CHECK_IS(setuid(getuid()), 0);
}

int main(void) {
    limits();
    priorities();
    files();
    children();
    another_user();
    return verdict();
}
