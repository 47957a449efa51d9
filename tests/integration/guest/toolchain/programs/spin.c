#include "spin.h"

void spin_until(const volatile int* word, int value) {
    while (*word < value) {
    }
}

void spin_times(unsigned long times) {
    for (volatile unsigned long i = 0; i < times; i++) {
    }
}
