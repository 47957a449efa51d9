// Computes without a single system call while a timer interrupts it: the result depends on where each interrupt fell.
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/time.h>

static volatile uint64_t ticks;

static void on_tick(int signal) {
    (void)signal;
    ticks = ticks + 1;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_tick};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {{0, 2000}, {0, 2000}};
    setitimer(ITIMER_REAL, &every, NULL);
    uint64_t hash = 1;
    for (uint64_t i = 0; i < 100000000; ++i) {
        hash = (hash ^ ticks ^ i) * 0x9e3779b97f4a7c15;
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    printf("ticks=%llu hash=%016llx\n", (unsigned long long)ticks, (unsigned long long)hash);
    return 0;
}
