# Functions with data between them, as cryptographic libraries keep it: tables whose bytes look like instructions.
        .text

# An object between two functions: RDTSC, CPUID and RDRAND to whoever reads it as code.
        .globl  object_table
        .type   object_table, @object
        .p2align 4
object_table:
        .byte   0x0f, 0x31, 0xc3, 0x0f, 0xa2, 0xc3, 0x0f, 0xc7, 0xf0, 0xc3
        .size   object_table, . - object_table

        .globl  first_stamp
        .type   first_stamp, @function
first_stamp:
        rdtsc
        shl     $32, %rdx
        or      %rdx, %rax
        ret
        .size   first_stamp, . - first_stamp

# A table without a symbol of its own, which the function in front of it reads.
        .globl  read_nameless
        .type   read_nameless, @function
read_nameless:
        mov     nameless(%rip), %rax
        xor     nameless + 8(%rip), %rax
        ret
        .size   read_nameless, . - read_nameless
nameless:
        .byte   0x0f, 0x31, 0x48, 0x89, 0xd0, 0x90, 0x0f, 0xa2, 0x0f, 0x31, 0x0f, 0x31, 0x0f, 0x31, 0x90, 0xc3

# Ends within an instruction of ten bytes that swallows the RDTSC of the function behind it.
        .globl  desynchronize
        .type   desynchronize, @function
desynchronize:
        mov     last_word(%rip), %eax
        ret
        .size   desynchronize, . - desynchronize
        .quad   0x310f, 0xa20f0000310f
last_word:
        .byte   0x48, 0xb8
        .globl  second_stamp
        .type   second_stamp, @function
second_stamp:
        rdtsc
        shl     $32, %rdx
        or      %rdx, %rax
        ret
        .size   second_stamp, . - second_stamp

# The same bytes within an instruction.
        .globl  immediate
        .type   immediate, @function
immediate:
        movabs  $0xa20f310fa20f310f, %rax
        ret
        .size   immediate, . - immediate

# Reached through a table of jumps alone, by a label without a type.
        .globl  third_stamp
        .type   third_stamp, @function
third_stamp:
        lea     jumps(%rip), %rax
        movslq  4(%rax), %rcx
        add     %rax, %rcx
        jmp     *%rcx
0:      xor     %eax, %eax
        ret
1:      rdtsc
        shl     $32, %rdx
        or      %rdx, %rax
        ret
        .size   third_stamp, . - third_stamp

        .section .rodata
        .p2align 2
jumps:  .long   0b - jumps, 1b - jumps, 0x7fffffff
        .section .note.GNU-stack, "", @progbits
