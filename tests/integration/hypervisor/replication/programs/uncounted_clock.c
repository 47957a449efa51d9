// Computes in code that was not counted and looks at the clock now and then, until it has seen a tenth of a second.
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int main(void) {
    const uint64_t start = now();
    volatile uint64_t work = 0;
    unsigned looks = 0;
    while (now() - start < 100000000) {
        for (int i = 0; i < 1000000; ++i)
            work += i;
        ++looks;
    }
    printf("the clock went on, looks=%u\n", looks);
    return looks < 1000 ? 0 : 1;
}
