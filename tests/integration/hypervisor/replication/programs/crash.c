// Breaks in the way its argument names.
#include <string.h>

__attribute__((noinline)) void write_to_null(void) {
    *(volatile int*)8 = 1;
}
__attribute__((noinline)) void invalid_opcode(void) {
    __asm__ volatile("ud2");
}
__attribute__((noinline)) int overflow_the_stack(int n) {
    volatile char room[4096];
    room[0] = (char)n;
    return overflow_the_stack(n + 1) + room[0];
}
__attribute__((noinline)) void touch_a_port(void) {
    __asm__ volatile("outb %al, $0xf7");
}
__attribute__((noinline)) void halt(void) {
    __asm__ volatile("hlt");
}

// The producer's index of the transmit ring, on the control page (guest/abi/abi.hpp).
__attribute__((noinline)) void overwrite_the_rings(void) {
    *(volatile unsigned long*)(0x40000 + 96) += 1UL << 40;
}

int main(int count, char** arguments) {
    const char* how = count > 1 ? arguments[1] : "null";
    if (!strcmp(how, "null"))
        write_to_null();
    if (!strcmp(how, "opcode"))
        invalid_opcode();
    if (!strcmp(how, "stack"))
        return overflow_the_stack(0);
    if (!strcmp(how, "port"))
        touch_a_port();
    if (!strcmp(how, "halt"))
        halt();
    if (!strcmp(how, "rings"))
        overwrite_the_rings();
    return 7;
}
