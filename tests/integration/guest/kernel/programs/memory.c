#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

enum { kPage = 4096 };

static int all_are(const unsigned char* bytes, size_t size, unsigned char value) {
    for (size_t i = 0; i < size; ++i) {
        if (bytes[i] != value) {
            return 0;
        }
    }
    return 1;
}

static unsigned char* map(size_t size) {
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void heap_grows_and_shrinks(void) {
    char* start = sbrk(0);
    CHECK(sbrk(3 * kPage) == start);
    CHECK(all_are((unsigned char*)start, 3 * kPage, 0));
    memset(start, 1, 3 * kPage);
    CHECK(sbrk(-2 * kPage) == start + 3 * kPage);
    CHECK(sbrk(2 * kPage) == start + kPage);
    CHECK(all_are((unsigned char*)start, kPage, 1));
    CHECK(all_are((unsigned char*)start + kPage, 2 * kPage, 0));
    CHECK(brk(start) == 0);
}

static void mappings_are_zero_and_apart(void) {
    unsigned char* a = map(5 * kPage);
    unsigned char* b = map(1);
    CHECK(a != MAP_FAILED && b != MAP_FAILED);
    CHECK((uintptr_t)a % kPage == 0 && (uintptr_t)b % kPage == 0);
    CHECK(b + kPage <= a || b >= a + 5 * kPage);
    CHECK(all_are(a, 5 * kPage, 0));
    memset(a, 7, 5 * kPage);
    CHECK(all_are(b, kPage, 0));
    CHECK_IS(munmap(a + kPage, kPage), 0);  // a hole
    unsigned char* hole =
        mmap(a + kPage, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(hole == a + kPage);
    CHECK(all_are(hole, kPage, 0));
    CHECK(all_are(a, kPage, 7) && all_are(a + 2 * kPage, 3 * kPage, 7));
    unsigned char* over = mmap(a, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(over == a && all_are(a, 2 * kPage, 0));
    CHECK(mmap(a, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED &&
          errno == EEXIST);
    CHECK_IS(munmap(a, 5 * kPage), 0);
    CHECK_IS(munmap(a, 5 * kPage), 0);
    CHECK_IS(munmap(b, kPage), 0);
}

static void remapping_keeps_bytes(void) {
    unsigned char* a = map(2 * kPage);
    memset(a, 3, 2 * kPage);
    unsigned char* b = mremap(a, 2 * kPage, 8 * kPage, MREMAP_MAYMOVE);
    CHECK(b != MAP_FAILED);
    CHECK(all_are(b, 2 * kPage, 3) && all_are(b + 2 * kPage, 6 * kPage, 0));
    CHECK(mremap(b, 8 * kPage, kPage, 0) == b);
    CHECK(all_are(b, kPage, 3));
    unsigned char* target = map(4 * kPage);
    CHECK(mremap(b, kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
    CHECK(all_are(target, kPage, 3) && all_are(target + kPage, kPage, 0));
    CHECK_IS(munmap(target, 4 * kPage), 0);
}

static void advice_and_protection(void) {
    unsigned char* a = map(4 * kPage);
    memset(a, 9, 4 * kPage);
    CHECK_IS(madvise(a, 2 * kPage, MADV_DONTNEED), 0);
    CHECK(all_are(a, 2 * kPage, 0) && all_are(a + 2 * kPage, 2 * kPage, 9));
    CHECK_IS(mprotect(a, 4 * kPage, PROT_READ), 0);
    CHECK(a[3 * kPage] == 9);
    CHECK_IS(mprotect(a, 4 * kPage, PROT_READ | PROT_WRITE), 0);
    CHECK_FAILS(mprotect(a + 1, kPage, PROT_READ), EINVAL);
    CHECK_FAILS(madvise(a + 1, kPage, MADV_DONTNEED), EINVAL);
    CHECK_IS(munmap(a, 4 * kPage), 0);
    CHECK_FAILS(mprotect(a, kPage, PROT_READ), ENOMEM);
}

static void mistakes_are_named(void) {
    CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, kPage, PROT_READ, MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, kPage, PROT_READ, MAP_PRIVATE, 99, 0) == MAP_FAILED && errno == EBADF);
    CHECK(mmap(NULL, (size_t)1 << 46, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
          errno == ENOMEM);
    CHECK_FAILS(munmap((void*)1, kPage), EINVAL);
    CHECK(mremap((void*)1, kPage, kPage, 0) == MAP_FAILED && errno == EINVAL);
}

// Code made at run time.
static void new_code_runs(void) {
    unsigned char* code = map(kPage);
    const unsigned char answer[] = {0xb8, 42, 0, 0, 0, 0xc3};  // mov $42, %eax; ret
    memcpy(code, answer, sizeof answer);
    CHECK_IS(mprotect(code, kPage, PROT_READ | PROT_EXEC), 0);
    int (*function)(void) = NULL;
    memcpy(&function, &code, sizeof function);
    CHECK_IS(function(), 42);
    CHECK_IS(munmap(code, kPage), 0);
}

// Many mappings of many sizes, against what was written there.
static void mappings_stress(void) {
    enum { kCount = 200, kRounds = 4000 };
    static unsigned char* place[kCount];
    static size_t size[kCount];
    unsigned random = 1;
    int intact = 1;
    for (int round = 0; round < kRounds; ++round) {
        random = random * 1103515245 + 12345;
        const unsigned which = (random >> 16) % kCount;
        if (place[which] != NULL) {
            intact &= place[which][0] == (unsigned char)which && place[which][size[which] - 1] == (unsigned char)which;
            intact &= munmap(place[which], size[which]) == 0;
            place[which] = NULL;
            continue;
        }
        size[which] = ((random >> 8) % 16 + 1) * kPage;
        place[which] = map(size[which]);
        intact &= place[which] != MAP_FAILED && place[which][0] == 0 && place[which][size[which] - 1] == 0;
        place[which][0] = place[which][size[which] - 1] = (unsigned char)which;
    }
    CHECK(intact);
}

// As programs older than MAP_ANONYMOUS take memory.
static void zeroes_by_their_device(void) {
    const int fd = open("/dev/zero", O_RDWR);
    char* bytes = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(bytes != MAP_FAILED && bytes[0] == 0 && bytes[8191] == 0);
    bytes[0] = 1;
    CHECK_FAILS(madvise(bytes, 4096, 9999), EINVAL);
    CHECK_IS(munmap(bytes, 8192), 0);
    close(fd);
}

int main(void) {
    zeroes_by_their_device();
    heap_grows_and_shrinks();
    mappings_are_zero_and_apart();
    remapping_keeps_bytes();
    advice_and_protection();
    mistakes_are_named();
    new_code_runs();
    mappings_stress();
    return verdict();
}
