// Preloaded into every process of a build, so that counted programs run on the host, too: a control page whose cell never
// turns negative.
#include <stdint.h>
#include <sys/mman.h>

#define CONTROL_PAGE 0x40000

__attribute__((constructor(101))) static void make_control_page(void) {
    int64_t* const cell = mmap((void*)CONTROL_PAGE, 4096, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (cell == (void*)CONTROL_PAGE) {
        *cell = INT64_MAX;
    }
}
