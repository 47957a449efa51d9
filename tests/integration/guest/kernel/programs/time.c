#define _GNU_SOURCE
#include <poll.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static long long nanoseconds(struct timespec t) {
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static long long monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return nanoseconds(t);
}

static void clocks(void) {
    struct timespec a;
    CHECK_IS(clock_gettime(CLOCK_REALTIME, &a), 0);
    CHECK(a.tv_sec > 1700000000);
    int ordered = 1;
    long long last = monotonic();
    for (int i = 0; i < 100000; ++i) {
        const long long next = monotonic();
        ordered &= next >= last;
        last = next;
    }
    CHECK(ordered);
    struct timeval day;
    CHECK_IS(gettimeofday(&day, NULL), 0);
    CHECK(day.tv_sec - a.tv_sec <= 5 && day.tv_usec < 1000000);
    CHECK(time(NULL) - a.tv_sec <= 5);
    CHECK_FAILS(clock_gettime(999, &a), EINVAL);
    CHECK_IS(clock_getres(CLOCK_MONOTONIC, &a), 0);
    CHECK(a.tv_sec == 0 && a.tv_nsec >= 1);
}

static void sleeping(void) {
    long long start = monotonic();
    const struct timespec ten = {0, 10000000};
    CHECK_IS(nanosleep(&ten, NULL), 0);
    CHECK(monotonic() - start >= 10000000);
    const struct timespec bad = {0, 1000000000};
    CHECK_FAILS(nanosleep(&bad, NULL), EINVAL);
    const struct timespec negative = {-1, 0};
    CHECK_FAILS(nanosleep(&negative, NULL), EINVAL);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 5000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    CHECK_IS(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL), 0);
    struct timespec after;
    clock_gettime(CLOCK_REALTIME, &after);
    CHECK(nanoseconds(after) >= nanoseconds(until));
    start = monotonic();
    CHECK_IS(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &(struct timespec){0, 1}, NULL), 0);  // long past
    CHECK(monotonic() - start < 1000000000);
    start = monotonic();
    CHECK_IS(poll(NULL, 0, 20), 0);
    CHECK(monotonic() - start >= 20000000);
}

static void timer_files(void) {
    const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    unsigned long long count = 0;
    CHECK_FAILS(read(fd, &count, 8), EAGAIN);
    struct itimerspec once = {{0, 0}, {100, 0}};
    CHECK_IS(timerfd_settime(fd, 0, &once, NULL), 0);
    struct itimerspec left;
    CHECK_IS(timerfd_gettime(fd, &left), 0);
    CHECK(left.it_value.tv_sec >= 60 && left.it_value.tv_sec < 100);
    once.it_value = (struct timespec){0, 5000000};
    CHECK_IS(timerfd_settime(fd, 0, &once, NULL), 0);
    struct pollfd entry = {fd, POLLIN, 0};
    CHECK_IS(poll(&entry, 1, 10000), 1);
    CHECK_IS(read(fd, &count, 8), 8);
    CHECK_IS(count, 1);
    CHECK_FAILS(read(fd, &count, 8), EAGAIN);
    const struct itimerspec often = {{0, 2000000}, {0, 1}};
    CHECK_IS(timerfd_settime(fd, 0, &often, &left), 0);
    CHECK(left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0);
    usleep(21000);
    CHECK_IS(read(fd, &count, 8), 8);
    CHECK(count >= 11);
    const struct itimerspec never = {{0, 0}, {0, 0}};
    CHECK_IS(timerfd_settime(fd, 0, &never, NULL), 0);
    CHECK_IS(poll(&entry, 1, 10), 0);
    struct itimerspec past = {{0, 0}, {0, 1}};
    CHECK_IS(timerfd_settime(fd, TFD_TIMER_ABSTIME, &past, NULL), 0);
    CHECK_IS(poll(&entry, 1, 1000), 1);
    CHECK_FAILS(timerfd_settime(0, 0, &once, NULL), EINVAL);
    CHECK_FAILS(timerfd_settime(99, 0, &once, NULL), EBADF);
    once.it_value.tv_nsec = -1;
    CHECK_FAILS(timerfd_settime(fd, 0, &once, NULL), EINVAL);
    CHECK_FAILS(timerfd_create(999, 0), EINVAL);
    close(fd);
}

int main(void) {
    clocks();
    sleeping();
    timer_files();
    return verdict();
}
