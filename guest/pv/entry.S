// The layer's entries: everything that enters it and leaves it again. The C++ behind each runs on a stack of the layer's
// own, but for hypercalls, which run on the kernel's. Nothing here counts, so the guest does not stop inside, but where
// it does an OUT by itself.
//
// Ring 3 throughout. "User" is whoever executes in the lower half of the address space.
#include "guest/pv/offsets.h"

#define CODE_SELECTOR $0x33
#define DATA_SELECTOR $0x2b
// Always one, interrupts on: what every frame of a running guest has.
#define RUNNING_FLAGS 0x202
// What of a program's flags survives a system call: TF, DF, AC.
#define KEPT_FLAGS 0x40500
// With it no IRETQ works.
#define NESTED_TASK 0x4000
// Addresses of programs have no more.
#define CANONICAL_BITS 47

// Behind the frame that the processor or a stub pushed (struct understudy_frame from `vector` on): the registers, and
// the C++ handler with a pointer to all of it. It may change any of it.
.macro handle function
    handle_before_return \function
    jmp resume
.endm
.macro handle_before_return function
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    call \function
.endm

// A frame for an entry that was called: it returns to behind the call. Clobbers nothing; the flags are not the caller's.
.macro frame_of_call stack, vector
    movq %rsp, saved_stack(%rip)
    leaq \stack(%rip), %rsp
    pushq DATA_SELECTOR
    pushq saved_stack(%rip)
    addq $8, (%rsp)
    pushq $RUNNING_FLAGS
    pushq CODE_SELECTOR
    pushq $0
    pushq $0
    pushq $\vector
    // RIP is on the stack that was left.
    pushq %rax
    movq saved_stack(%rip), %rax
    movq (%rax), %rax
    movq %rax, 24(%rsp)
    popq %rax
.endm

    .text

resume:
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp
    .globl resume_iret
resume_iret:
    iretq

// --- Exceptions ------------------------------------------------------------------------------------------------------
// One stub a vector, on the exception stack (IST 1). Vectors 8, 10 to 14 and 17 bring an error code.
    .balign 16
    .globl exception_vectors
exception_vectors:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17)
    .else
    pushq $0
    .endif
    pushq $vector
    jmp exception
    .set vector, vector + 1
    .endr
exception:
    handle_before_return handle_exception
    testb %al, %al
    jz resume
    // Counted code's trap, for what is executed in a program's stead. A stop clears this stack, so it is made on another.
    // Registers are compared at a stop: C++ that has looked at the counter may have left it in one of these.
    movq %rsp, %rsi
    leaq trap_stack_top - FRAME_BYTES(%rip), %rdi
    movl $FRAME_BYTES / 8, %ecx
    rep movsq
    xorl %eax, %eax
    xorl %edx, %edx
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    xorl %r11d, %r11d
    leaq trap_stack_top - FRAME_BYTES(%rip), %rsp
    movq %rsp, %rdi
    call handle_budget
    jmp resume

// --- Counted code: the cell turned negative -----------------------------------------------------------------------------
    .globl trap_entry
trap_entry:
    frame_of_call trap_stack_top, VECTOR_BUDGET
    handle handle_budget

// --- Hypercalls ---------------------------------------------------------------------------------------------------------
// RAX: number, RDI RSI RDX R10 R8: arguments, RAX: result. Every other register is kept (Linux's inline assembly counts
// on RCX, R9 and R11). A call that leaves an event pending enters the kernel's handler before it returns.
// HYPERVISOR_iret does not return: below its IRETQ frame lie the return address, RAX, R11, RCX and a word of flags.
    .section .hypercall, "ax"
hypercall:
    cmpl $HYPERVISOR_IRET, %eax
    jne hypercall_entry
    addq $8, %rsp
    popq %rax
    popq %r11
    popq %rcx
    addq $8, %rsp
    jmp iret_entry

    .text
hypercall_entry:
    pushq %rcx
    pushq %r9
    pushq %r11
    movq %r10, %rcx
    movq %rax, %r9
    call handle_hypercall
    popq %r11
    popq %r9
    popq %rcx
    cmpq $0, upcall_due(%rip)
    jne 1f
    ret
1:  frame_of_call upcall_stack_top, VECTOR_UPCALL
    handle handle_upcall

// --- System calls -------------------------------------------------------------------------------------------------------
// LSTAR. In ring 0, whose instructions some hosts interpret one by one: it only leaves for ring 3, where RCX holds the
// return address and R11 the flags.
    .globl syscall_stub
syscall_stub:
    movq %rsp, saved_stack(%rip)
    leaq syscall_frame(%rip), %rsp
    iretq
from_syscall_stub:
    movq layer + LAYER_KERNEL_STACK(%rip), %rsp
    pushq DATA_SELECTOR
    pushq saved_stack(%rip)
    andl $KEPT_FLAGS, %r11d
    orl $RUNNING_FLAGS, %r11d
    pushq %r11
    jmp system_call

// A rewritten site (guest/linux/overlay/calls.c): no stack was touched, and RCX and R11 say where it was.
    .globl syscall_entry
syscall_entry:
    movq %rsp, saved_stack(%rip)
    movq layer + LAYER_KERNEL_STACK(%rip), %rsp
    pushq DATA_SELECTOR
    pushq saved_stack(%rip)
    pushfq
    testl %ecx, %ecx
    js 1f
    movl %ecx, %eax
    shrl $CALL_NUMBER_SHIFT, %eax
1:  andl $CALL_OFFSET_MASK, %ecx
    andq $-4096, %r11
    addq %r11, %rcx
    popq %r11
    testl $KEPT_FLAGS | NESTED_TASK, %r11d
    jnz 3f
2:  andl $KEPT_FLAGS, %r11d
    orl $RUNNING_FLAGS, %r11d
    pushq %r11
system_call:
    pushq CODE_SELECTOR
    pushq %rcx
    pushq %r11
    pushq %rcx
    incq layer + LAYER_SYSTEM_CALLS(%rip)
    rdgsbase %rcx
    movq %rcx, layer + LAYER_USER_GS(%rip)
    movq layer + LAYER_KERNEL_GS(%rip), %rcx
    wrgsbase %rcx
    movq vcpu_info(%rip), %rcx
    movb $1, VCPU_INFO_MASK(%rcx)
    jmp *syscall_callback(%rip)
3:  pushq $RUNNING_FLAGS  // the program may be stepped, the kernel is not
    popfq
    jmp 2b

// --- IRETQ of the kernel --------------------------------------------------------------------------------------------------
// To a program, to a place of its own, with nothing pending: straight on. Everything else is decided in C++.
iret_entry:
    testb $3, 8(%rsp)
    jz 4f
    cmpq $0, layer + LAYER_FLUSH_DUE(%rip)
    jne 4f
    pushq %rax
    movq 8(%rsp), %rax
    shrq $CANONICAL_BITS, %rax
    jnz 7f
    movq vcpu_info(%rip), %rax
    movb $0, VCPU_INFO_MASK(%rax)
    cmpb $0, VCPU_INFO_PENDING(%rax)
    jne 5f
    movq layer + LAYER_USER_GS(%rip), %rax
    wrgsbase %rax
    // Behind a system call RCX is RIP: then a jump does it, for a third of the time. Flags are as IRETQ would leave them.
    cmpq %rcx, 8(%rsp)
    jne 6f
    cmpq $RUNNING_FLAGS & ~0x3000, 24(%rsp)
    jne 6f
    popq %rax
    movq 24(%rsp), %rsp
    cmpb $0, one(%rip)
    jmp *%rcx
6:  popq %rax
    movq CODE_SELECTOR, 8(%rsp)
    movq DATA_SELECTOR, 32(%rsp)
    orl $RUNNING_FLAGS, 16(%rsp)
    .globl iret_to_program
iret_to_program:
    iretq
5:  movb $1, VCPU_INFO_MASK(%rax)
7:  popq %rax
4:  movq %rsp, saved_stack(%rip)
    leaq upcall_stack_top(%rip), %rsp
    pushq %rax  // keeps the place of SS
    movq saved_stack(%rip), %rax
    pushq 24(%rax)
    pushq 16(%rax)
    pushq 8(%rax)
    pushq (%rax)
    pushq $0
    pushq $VECTOR_IRET
    pushq 32(%rax)
    movq 56(%rsp), %rax
    popq 48(%rsp)
    handle handle_iret

// --- The beginning: RAX = the kernel's entry, RSI = start_info, RSP = its first stack --------------------------------------
    .globl start
start:
    // Nothing uses these; what they hold at the start differs from one KVM to another, and the kernel keeps it.
    xorl %ecx, %ecx
    movl %ecx, %ds
    movl %ecx, %es
    movl %ecx, %fs
    movl %ecx, %gs
    pushq %rax
    pushq %rsi
    call handle_start
    popq %rsi
    popq %rax
    jmp *%rax

    .data
    .balign 16
// What the ring-0 stub returns through.
syscall_frame:
    .quad from_syscall_stub, 0x33, RUNNING_FLAGS, exception_stack_top, 0x2b

one:
    .byte 1

    .bss
    .balign 4096
    .space EXCEPTION_STACK_BYTES
    .globl exception_stack_top
exception_stack_top:
    .space 16384
trap_stack_top:
    .space 16384
upcall_stack_top:
