// For small programs that state what Linux does, line by line. Each runs on the host, which proves the statements, and
// in the guest, which has to agree: a PASS or FAIL line for each, and exit status 1 after a FAIL.
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static inline void report(int passed, const char* what, int line) {
    printf("%s %d: %s\n", passed ? "PASS" : "FAIL", line, what);
    fflush(stdout);  // what a program said before it hangs or dies is known
    failures += !passed;
}

// `condition` holds.
#define CHECK(condition) report((condition) != 0, #condition, __LINE__)

// `call` answers `expected`.
#define CHECK_IS(call, expected)                                                                   \
    do {                                                                                           \
        const long got_ = (long)(call);                                                            \
        const int error_ = errno;                                                                  \
        if (got_ != (long)(expected)) {                                                            \
            fprintf(stderr, "line %d: %s is %ld (%s)\n", __LINE__, #call, got_, strerror(error_)); \
        }                                                                                          \
        report(got_ == (long)(expected), #call " is " #expected, __LINE__);                        \
    } while (0)

// `call` fails with `error`.
#define CHECK_FAILS(call, error)                                                                   \
    do {                                                                                           \
        errno = 0;                                                                                 \
        const long got_ = (long)(call);                                                            \
        const int error_ = errno;                                                                  \
        if (got_ != -1 || error_ != (error)) {                                                     \
            fprintf(stderr, "line %d: %s is %ld (%s)\n", __LINE__, #call, got_, strerror(error_)); \
        }                                                                                          \
        report(got_ == -1 && error_ == (error), #call " fails with " #error, __LINE__);            \
    } while (0)

static inline int verdict(void) {
    fflush(stdout);
    return failures == 0 ? 0 : 1;
}
