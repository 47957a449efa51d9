// Computes for ever, in code that nothing counts, and never enters its kernel.
#include <unistd.h>

int main(void) {
    const char said[] = "spins\n";
    volatile unsigned long turns = 0;
    write(STDOUT_FILENO, said, sizeof said - 1);
    usleep(1000);  // idles, so that it is heard
    for (;;) {
        ++turns;
    }
}
