// Programs that compute without a system call until somebody else has done something: none of them ends unless it is
// interrupted inside its own code. The argument names one; without, all.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spin.h"

static volatile int happened;
static const char* const kSelf = "/proc/self/exe";

static void on_alarm(int signal) {
    (void)signal;
    happened++;
}

static void timer(void) {
    const struct itimerval every_10_ms = {{0, 10000}, {0, 10000}};
    const struct itimerval never = {{0, 0}, {0, 0}};
    happened = 0;
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &every_10_ms, NULL);
    spin_until(&happened, 5);
    setitimer(ITIMER_REAL, &never, NULL);
}

static void* thread(void* unused) {
    volatile int mine = 0;
    for (int i = 0; i < 5; i++) {
        spin_times(1000000);
        mine++;
    }
    happened = mine;
    return unused;
}

static void threads(void) {
    pthread_t one;
    happened = 0;
    pthread_create(&one, NULL, thread, NULL);
    spin_until(&happened, 5);
    pthread_join(one, NULL);
}

static int* shared_word(void) {
    return mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void forked(void) {
    volatile int* const word = shared_word();
    const pid_t child = fork();
    if (child == 0) {
        spin_times(3000000);
        *word = 1;
        spin_until(word, 2);  // and back
        _exit(0);
    }
    spin_until(word, 1);
    *word = 2;
    waitpid(child, NULL, 0);
}

// A child that has its parent's memory until it executes, and then computes beside it.
static void executed(void) {
    int status = 0;
    const pid_t child = vfork();
    if (child == 0) {
        execl(kSelf, kSelf, "compute", (char*)NULL);
        _exit(127);
    }
    happened = 0;
    signal(SIGCHLD, on_alarm);
    spin_until(&happened, 1);
    waitpid(child, &status, 0);
    signal(SIGCHLD, SIG_DFL);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 3) {
        printf("the child ended with %#x\n", (unsigned)status);
        exit(1);
    }
}

// A signal of another process ends a computation that ignores everything.
static void killed(void) {
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        spin_until(&happened, 1 << 30);
    }
    usleep(20000);
    kill(child, SIGTERM);
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGTERM) {
        printf("the child ended with %#x\n", (unsigned)status);
        exit(1);
    }
}

static const struct {
    const char* name;
    void (*run)(void);
} kTests[] = {{"timer", timer}, {"threads", threads}, {"forked", forked}, {"executed", executed}, {"killed", killed}};

int main(int count, char** words) {
    if (count > 1 && strcmp(words[1], "compute") == 0) {
        spin_times(5000000);
        return 3;
    }
    for (unsigned i = 0; i < sizeof kTests / sizeof kTests[0]; i++) {
        if (count == 1 || strcmp(words[1], kTests[i].name) == 0) {
            kTests[i].run();
            printf("%s\n", kTests[i].name);
            fflush(stdout);
        }
    }
    return 0;
}
