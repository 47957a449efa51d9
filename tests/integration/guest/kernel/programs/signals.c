#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static volatile sig_atomic_t seen[65];
static volatile double product = 1;
static volatile siginfo_t last;

static void on_signal(int signal) {
    ++seen[signal];
    product *= 1.5;  // uses the registers that the interrupted code may use
}
static void on_signal_info(int signal, siginfo_t* info, void* context) {
    ++seen[signal];
    last = *info;
    (void)context;
}

static void handle(int signal, void (*handler)(int), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(signal, &action, NULL);
}

static void handlers_run(void) {
    handle(SIGUSR1, on_signal, 0);
    CHECK_IS(raise(SIGUSR1), 0);
    CHECK_IS(seen[SIGUSR1], 1);
    CHECK_IS(kill(getpid(), SIGUSR1), 0);
    CHECK_IS(seen[SIGUSR1], 2);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_signal_info;
    action.sa_flags = SA_SIGINFO | (int)SA_RESETHAND;
    CHECK_IS(sigaction(SIGUSR2, &action, NULL), 0);
    kill(getpid(), SIGUSR2);
    CHECK(last.si_signo == SIGUSR2 && last.si_code == SI_USER && last.si_pid == getpid());
    struct sigaction now;
    sigaction(SIGUSR2, NULL, &now);
    CHECK(now.sa_handler == SIG_DFL);
    handle(SIGUSR1, SIG_IGN, 0);
    raise(SIGUSR1);
    CHECK_IS(seen[SIGUSR1], 2);
    CHECK_FAILS(kill(getpid(), 99), EINVAL);
    CHECK_IS(kill(getpid(), 0), 0);
    CHECK_FAILS(sigaction(SIGKILL, &action, NULL), EINVAL);
}

static void masks_hold_back(void) {
    handle(SIGUSR1, on_signal, 0);
    sigset_t set;
    sigset_t old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK_IS(sigprocmask(SIG_BLOCK, &set, &old), 0);
    const int before = seen[SIGUSR1];
    raise(SIGUSR1);
    raise(SIGUSR1);
    CHECK_IS(seen[SIGUSR1], before);
    sigset_t waiting;
    CHECK_IS(sigpending(&waiting), 0);
    CHECK_IS(sigismember(&waiting, SIGUSR1), 1);
    sigset_t none;
    sigemptyset(&none);
    CHECK_FAILS(sigsuspend(&none), EINTR);
    CHECK_IS(seen[SIGUSR1], before + 1);  // twice pending is once
    raise(SIGUSR1);
    CHECK_IS(sigtimedwait(&set, NULL, &(struct timespec){1, 0}), SIGUSR1);
    CHECK_FAILS(sigtimedwait(&set, NULL, &(struct timespec){0, 1000000}), EAGAIN);
    raise(SIGUSR1);
    CHECK_IS(sigprocmask(SIG_SETMASK, &old, NULL), 0);
    CHECK_IS(seen[SIGUSR1], before + 2);
    CHECK_FAILS(sigprocmask(99, &set, NULL), EINVAL);
}

static void calls_are_interrupted(void) {
    handle(SIGALRM, on_signal, 0);
    const struct itimerval soon = {{0, 0}, {0, 10000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    CHECK_FAILS(pause(), EINTR);
    setitimer(ITIMER_REAL, &soon, NULL);
    struct timespec left = {0, 0};
    CHECK_FAILS(nanosleep(&(struct timespec){5, 0}, &left), EINTR);
    CHECK(left.tv_sec >= 3);
    setitimer(ITIMER_REAL, &soon, NULL);
    CHECK_FAILS(poll(NULL, 0, 5000), EINTR);
    int ends[2];
    char byte = 0;
    CHECK_IS(pipe(ends), 0);
    setitimer(ITIMER_REAL, &soon, NULL);
    CHECK_FAILS(read(ends[0], &byte, 1), EINTR);
    CHECK_IS(seen[SIGALRM], 4);
    close(ends[0]);
    close(ends[1]);
}

static int restart_ends[2];
static void write_byte(int signal) {
    ++seen[signal];
    if (write(restart_ends[1], "r", 1) != 1) {
        seen[signal] = -100;
    }
}

static void calls_are_restarted(void) {
    CHECK_IS(pipe(restart_ends), 0);
    handle(SIGALRM, write_byte, SA_RESTART);
    seen[SIGALRM] = 0;
    const struct itimerval soon = {{0, 0}, {0, 10000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    char byte = 0;
    CHECK_IS(read(restart_ends[0], &byte, 1), 1);
    CHECK(byte == 'r' && seen[SIGALRM] == 1);
    close(restart_ends[0]);
    close(restart_ends[1]);
}

// Ticks while the program computes: what it computes does not change. Only counted code is interrupted while it
// computes; other code takes its signals when it makes a system call.
static void ticks_do_not_disturb(void) {
    handle(SIGALRM, on_signal, SA_RESTART);
    seen[SIGALRM] = 0;
    const struct itimerval often = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &often, NULL);
    double expected = 0;
    int equal = 1;
    struct timespec start;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        double sum = 0;
        for (int i = 1; i <= 200000; ++i) {
            sum += 1.0 / i;
        }
        equal &= expected == 0 || sum == expected;
        expected = sum;
        nanosleep(&(struct timespec){0, 50000}, NULL);  // where code that is not counted sees time pass
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (seen[SIGALRM] < 10 && now.tv_sec - start.tv_sec < 20);
    CHECK(equal);
    CHECK(seen[SIGALRM] >= 10);
    struct itimerval current;
    CHECK_IS(getitimer(ITIMER_REAL, &current), 0);
    CHECK_IS(current.it_interval.tv_usec, 1000);
    const struct itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK_IS(alarm(100), 0);
    CHECK_IS(alarm(0), 100);
}

static char alternate[16384];
static volatile int on_alternate;
static void on_stack(int signal) {
    char here = 0;
    on_alternate = &here >= alternate && &here < alternate + sizeof alternate;
    stack_t now;
    sigaltstack(NULL, &now);
    on_alternate &= (now.ss_flags & SS_ONSTACK) != 0;
    ++seen[signal];
}

static void alternate_stacks(void) {
    const stack_t stack = {.ss_sp = alternate, .ss_flags = 0, .ss_size = sizeof alternate};
    CHECK_IS(sigaltstack(&stack, NULL), 0);
    handle(SIGUSR1, on_stack, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK(on_alternate);
    handle(SIGUSR1, on_stack, 0);
    raise(SIGUSR1);
    CHECK(!on_alternate);
    const stack_t small = {.ss_sp = alternate, .ss_flags = 0, .ss_size = 100};
    CHECK_FAILS(sigaltstack(&small, NULL), ENOMEM);
}

// A handler that is interrupted by another signal returns to where it was.
static volatile int order[4];
static volatile int steps;
static void inner(int signal) {
    (void)signal;
    order[steps++] = 2;
}
static void outer(int signal) {
    (void)signal;
    order[steps++] = 1;
    raise(SIGUSR2);
    order[steps++] = 3;
}
static void nesting(void) {
    handle(SIGUSR1, outer, 0);
    handle(SIGUSR2, inner, 0);
    raise(SIGUSR1);
    CHECK(steps == 3 && order[0] == 1 && order[1] == 2 && order[2] == 3);
}

static int queued_value;
static void on_queued(int signal, siginfo_t* info, void* context) {
    queued_value = info->si_code == SI_QUEUE ? info->si_value.sival_int : -1;
}
static void values_come_with_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_queued;
    action.sa_flags = SA_SIGINFO;
    CHECK_IS(sigaction(SIGRTMIN + 1, &action, NULL), 0);
    union sigval value;
    value.sival_int = 42;
    CHECK_IS(sigqueue(getpid(), SIGRTMIN + 1, value), 0);
    CHECK_IS(queued_value, 42);
    CHECK_FAILS(sigqueue(getpid(), 99, value), EINVAL);
}

int main(void) {
    values_come_with_signals();
    handlers_run();
    masks_hold_back();
    calls_are_interrupted();
    calls_are_restarted();
    ticks_do_not_disturb();
    alternate_stacks();
    nesting();
    return verdict();
}
