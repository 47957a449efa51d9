// Reads the tables of tables_between.S, and runs the functions between them.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

extern const unsigned char object_table[];
uint64_t first_stamp(void);
uint64_t second_stamp(void);
uint64_t third_stamp(void);
uint64_t read_nameless(void);
uint32_t desynchronize(void);
uint64_t immediate(void);

int main(void) {
    static const unsigned char kObject[] = {0x0f, 0x31, 0xc3, 0x0f, 0xa2, 0xc3, 0x0f, 0xc7, 0xf0, 0xc3};
    printf("object %s\n", memcmp(object_table, kObject, sizeof kObject) == 0 ? "whole" : "damaged");
    printf("nameless %s\n", read_nameless() == (0xa20f90d08948310fu ^ 0xc390310f310f310fu) ? "whole" : "damaged");
    printf("immediate %s\n", immediate() == 0xa20f310fa20f310fu ? "whole" : "damaged");
    printf("last word %04x\n", desynchronize() & 0xffff);
    const uint64_t first = first_stamp(), second = second_stamp(), third = third_stamp();
    printf("stamps %s\n", first <= second && second <= third && first != 0 ? "grow" : "go back");
    printf("at %llu %llu %llu\n", (unsigned long long)first, (unsigned long long)second, (unsigned long long)third);
    return 0;
}
