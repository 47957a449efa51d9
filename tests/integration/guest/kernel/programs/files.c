// Runs in a folder with the files that the test makes: text ("one\ntwo\n"), big (100,000 bytes, byte i is i % 251),
// folder/inner ("inner"), folder/empty/, link -> text, loop -> loop.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"

static void reading(void) {
    char bytes[64];
    const int fd = open("text", O_RDONLY);
    CHECK(fd >= 0);
    CHECK_IS(read(fd, bytes, 4), 4);
    CHECK(memcmp(bytes, "one\n", 4) == 0);
    CHECK_IS(lseek(fd, 0, SEEK_CUR), 4);
    CHECK_IS(read(fd, bytes, sizeof bytes), 4);
    CHECK_IS(read(fd, bytes, sizeof bytes), 0);
    CHECK_IS(pread(fd, bytes, 3, 4), 3);
    CHECK(memcmp(bytes, "two", 3) == 0);
    CHECK_IS(pread(fd, bytes, 3, 100), 0);
    CHECK_IS(lseek(fd, -3, SEEK_END), 5);
    CHECK_IS(lseek(fd, 2, SEEK_SET), 2);
    CHECK_FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
    CHECK_FAILS(lseek(fd, 0, 99), EINVAL);
    char a[3];
    char b[10];
    const struct iovec pieces[] = {{a, sizeof a}, {NULL, 0}, {b, sizeof b}};
    CHECK_IS(lseek(fd, 0, SEEK_SET), 0);
    CHECK_IS(readv(fd, pieces, 3), 8);
    CHECK(memcmp(a, "one", 3) == 0 && memcmp(b, "\ntwo\n", 5) == 0);
    CHECK_IS(lseek(fd, 1, SEEK_SET), 1);
    int left = 0;
    CHECK_IS(ioctl(fd, FIONREAD, &left), 0);
    CHECK_IS(left, 7);
    CHECK_FAILS(write(fd, "x", 1), EBADF);
    CHECK_FAILS(read(fd, (void*)-1, 4), EFAULT);
    CHECK_IS(close(fd), 0);
    CHECK_FAILS(close(fd), EBADF);
    CHECK_FAILS(read(fd, bytes, 1), EBADF);
}

static void opening(void) {
    CHECK_FAILS(open("none", O_RDONLY), ENOENT);
    CHECK_FAILS(open("text/none", O_RDONLY), ENOTDIR);
    CHECK_FAILS(open("text/", O_RDONLY), ENOTDIR);
    CHECK_FAILS(open("text", O_RDONLY | O_DIRECTORY), ENOTDIR);
    CHECK_FAILS(open("folder", O_WRONLY), EISDIR);
    CHECK_FAILS(open("loop", O_RDONLY), ELOOP);
    CHECK_FAILS(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK_FAILS(open("", O_RDONLY), ENOENT);
    CHECK_FAILS(open((const char*)-1, O_RDONLY), EFAULT);
    CHECK_FAILS(open("text", O_RDONLY | O_CREAT | O_EXCL, 0600), EEXIST);
    static char name[5000];
    memset(name, 'n', 300);
    CHECK_FAILS(open(name, O_RDONLY), ENAMETOOLONG);
    memset(name, '/', sizeof name - 1);
    CHECK_FAILS(open(name, O_RDONLY), ENAMETOOLONG);
    const int folder = open("folder", O_RDONLY | O_DIRECTORY);
    CHECK(folder >= 0);
    const int inner = openat(folder, "inner", O_RDONLY);
    CHECK(inner >= 0);
    char bytes[8];
    CHECK_IS(read(inner, bytes, sizeof bytes), 5);
    CHECK_FAILS(read(folder, bytes, sizeof bytes), EISDIR);
    CHECK_FAILS(openat(inner, "inner", O_RDONLY), ENOTDIR);
    CHECK_FAILS(openat(99, "inner", O_RDONLY), EBADF);
    CHECK(openat(99, "/", O_RDONLY) >= 0);
    CHECK(open("folder/../link", O_RDONLY) >= 0);
    close(inner);
    close(folder);
}

static void describing(void) {
    struct stat status;
    CHECK_IS(stat("text", &status), 0);
    CHECK(S_ISREG(status.st_mode) && status.st_size == 8 && (status.st_mode & 0777) == 0644);
    CHECK_IS(stat("folder", &status), 0);
    CHECK(S_ISDIR(status.st_mode));
    CHECK_IS(stat("link", &status), 0);
    CHECK(S_ISREG(status.st_mode) && status.st_size == 8);
    CHECK_IS(lstat("link", &status), 0);
    CHECK(S_ISLNK(status.st_mode) && status.st_size == 4);
    CHECK_FAILS(stat("none", &status), ENOENT);
    CHECK_FAILS(stat("text", (struct stat*)-1), EFAULT);
    CHECK_FAILS(fstat(99, &status), EBADF);
    const int fd = open("big", O_RDONLY);
    CHECK_IS(fstat(fd, &status), 0);
    CHECK_IS(status.st_size, 100000);
    CHECK_IS(fstatat(fd, "", &status, AT_EMPTY_PATH), 0);
    CHECK_IS(status.st_size, 100000);
    close(fd);
    CHECK_IS(access("text", R_OK), 0);
    CHECK_FAILS(access("none", F_OK), ENOENT);
    CHECK_FAILS(access("text", X_OK), EACCES);
    char target[8];
    CHECK_IS(readlink("link", target, sizeof target), 4);
    CHECK(memcmp(target, "text", 4) == 0);
    CHECK_IS(readlink("link", target, 2), 2);
    CHECK_FAILS(readlink("text", target, sizeof target), EINVAL);
    CHECK_FAILS(readlink("none", target, sizeof target), ENOENT);
    char path[200];
    CHECK(readlink("/proc/self/exe", path, sizeof path) > 0 && path[0] == '/');
}

static void listing(void) {
    DIR* folder = opendir("folder");
    CHECK(folder != NULL);
    int dots = 0;
    int inner = 0;
    int empty = 0;
    int others = 0;
    for (struct dirent* entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            ++dots;
        } else if (strcmp(entry->d_name, "inner") == 0) {
            inner += entry->d_type == DT_REG;
        } else if (strcmp(entry->d_name, "empty") == 0) {
            empty += entry->d_type == DT_DIR;
        } else {
            ++others;
        }
    }
    CHECK(dots == 2 && inner == 1 && empty == 1 && others == 0);
    rewinddir(folder);
    CHECK(readdir(folder) != NULL);
    CHECK_IS(closedir(folder), 0);
    char here[300];
    CHECK(getcwd(here, sizeof here) != NULL);
    CHECK_IS(chdir("folder/empty"), 0);
    CHECK_IS(chdir("../.."), 0);
    char again[300];
    CHECK(getcwd(again, sizeof again) != NULL && strcmp(here, again) == 0);
    CHECK_FAILS(chdir("text"), ENOTDIR);
    CHECK_FAILS(chdir("none"), ENOENT);
    CHECK(getcwd(again, 0) == NULL && errno == EINVAL);
}

static void mapping(void) {
    const int fd = open("big", O_RDONLY);
    const unsigned char* bytes = mmap(NULL, 100000, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(bytes != MAP_FAILED);
    int intact = 1;
    for (int i = 0; i < 100000; ++i) {
        intact &= bytes[i] == i % 251;
    }
    CHECK(intact);
    CHECK(bytes[100001] == 0);  // the page's rest
    CHECK_IS(munmap((void*)bytes, 100000), 0);
    bytes = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4096);
    CHECK(bytes != MAP_FAILED && bytes[0] == 4096 % 251 && bytes[8191] == (4096 + 8191) % 251);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 1) == MAP_FAILED && errno == EINVAL);
    close(fd);
}

static void devices(void) {
    char bytes[16];
    int fd = open("/dev/null", O_RDWR);
    CHECK_IS(write(fd, "x", 1), 1);
    CHECK_IS(read(fd, bytes, sizeof bytes), 0);
    close(fd);
    fd = open("/dev/zero", O_RDONLY);
    memset(bytes, 1, sizeof bytes);
    CHECK_IS(read(fd, bytes, sizeof bytes), sizeof bytes);
    CHECK(bytes[0] == 0 && bytes[15] == 0);
    close(fd);
    fd = open("/dev/urandom", O_RDONLY);
    unsigned char random[1000] = {0};
    CHECK_IS(read(fd, random, sizeof random), sizeof random);
    int nonzero = 0;
    for (size_t i = 0; i < sizeof random; ++i) {
        nonzero += random[i] != 0;
    }
    CHECK(nonzero > 900);
    close(fd);
    struct stat status;
    CHECK_IS(stat("/dev/null", &status), 0);
    CHECK(S_ISCHR(status.st_mode));
}

int main(void) {
    reading();
    opening();
    describing();
    listing();
    mapping();
    devices();
    return verdict();
}
