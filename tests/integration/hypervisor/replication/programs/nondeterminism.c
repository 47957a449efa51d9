// Executes every instruction whose result is not a function of the guest's state, and prints what it got.
#include <stdint.h>
#include <stdio.h>

static uint64_t rdtsc(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}
static uint64_t rdtscp(uint32_t* processor) {
    uint32_t low, high;
    __asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(*processor));
    return (uint64_t)high << 32 | low;
}

int main(void) {
    uint64_t a = rdtsc();
    uint32_t processor = 77;
    uint64_t b = rdtscp(&processor);
    printf("tsc grows=%d value=%llu processor=%u\n", b > a, (unsigned long long)b, processor);
    uint64_t r11 = 0, rbx = 0, seed = 0, id = 99;
    unsigned char carry = 0;
    __asm__ volatile("rdrand %%r11; setc %1; mov %%r11, %0" : "=r"(r11), "=r"(carry) : : "r11", "cc");
    printf("rdrand carry=%u value=%016llx\n", carry, (unsigned long long)r11);
    __asm__ volatile("mov $-1, %%rbx; rdrand %%ebx; mov %%rbx, %0" : "=r"(rbx) : : "rbx", "cc");
    printf("rdrand32 upper=%llu value=%016llx\n", (unsigned long long)(rbx >> 32), (unsigned long long)rbx);
    __asm__ volatile("rdseed %0" : "=r"(seed) : : "cc");
    printf("rdseed %016llx\n", (unsigned long long)seed);
    __asm__ volatile("rdpid %0" : "=r"(id));
    printf("rdpid %llu\n", (unsigned long long)id);
    uint32_t eax = 0, ebx, ecx, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
    printf("cpuid %.4s%.4s%.4s\n", (char*)&ebx, (char*)&edx, (char*)&ecx);
    ecx = 0;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(ecx));
    printf("xgetbv %u %u\n", eax, edx);
    return 0;
}
