// Every way into and out of the guest kernel, and the one read of the clock. Assembly is never counted, so no trap can
// happen inside these sequences; that is what makes the scratch cells below safe.
//
// The kernel shares its stack between system calls and interrupts: there is one program thread, and an interrupt that
// arrives while the kernel runs returns at once.
//
// Flags. A counted branch leaves flags that depend on the raw value of the counter cell, and the cell's raw value is not
// the same in a replica. So no entry stores the arithmetic flags anywhere: of the program's RFLAGS only DF survives.
// Compilers treat the flags as lost across both a system call and a counted branch.

#include "guest/kernel/layout.h"

        .section .text.entry, "ax"
        .global understudy_start
        .type understudy_start, @function
understudy_start:
        // The cell is armed already: publish the entries before the first counted instruction can run.
        movq    $understudy_trap_entry, CONTROL_TRAP_ENTRY
        movq    $understudy_syscall_entry, CONTROL_SYSCALL_ENTRY
        movb    $1, understudy_in_kernel
        movq    $understudy_stack_top, %rsp
        cld
        xorl    %ebp, %ebp
        call    understudy_main
        ud2

        .text

// The save area `Frame` (frame.hpp), highest address first: padding, rsp, rflags, rip, number, then the registers.
.macro SAVE_REGISTERS
        pushq   %rdi
        pushq   %rsi
        pushq   %rdx
        pushq   %rcx
        pushq   %rax
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
.endm

// Entered from a trampoline, or by the monitor after the SYSCALL instruction itself: RAX the number, RCX the return
// address, the program's stack, R11 anything.
        .global understudy_syscall_entry
        .type understudy_syscall_entry, @function
        .balign 16
understudy_syscall_entry:
        movq    %rsp, resume_rsp
        movq    $understudy_stack_top, %rsp
        pushq   $0
        pushq   resume_rsp
        pushfq
        cld
        andq    $RFLAGS_DIRECTION, (%rsp)
        orq     $RFLAGS_FIXED, (%rsp)
        pushq   %rcx                            // where the program goes on
        pushq   %rax                            // the system call's number
        movl    $RFLAGS_FIXED, %r11d            // SYSCALL would put RFLAGS here; the same everywhere
        SAVE_REGISTERS
        movb    $1, understudy_in_kernel
        xorl    %ebp, %ebp
        movq    %rsp, %rdi
        call    understudy_handle_syscall

// Leaves the kernel for what the Frame at RSP describes, all registers exactly.
resume:
        movq    FRAME_RIP(%rsp), %rax
        movq    %rax, resume_rip
        movq    FRAME_RSP(%rsp), %rax
        movq    %rax, resume_rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rax
        popq    %rcx
        popq    %rdx
        popq    %rsi
        popq    %rdi
        leaq    16(%rsp), %rsp                  // number, rip
        movb    $0, understudy_in_kernel
        popfq
        movq    resume_rsp, %rsp
        jmpq    *resume_rip

        .global understudy_resume
        .type understudy_resume, @function
understudy_resume:
        movq    %rdi, %rsp
        jmp     resume

// `call *trap_entry` of counted code, the cell negative.
        .global understudy_trap_entry
        .type understudy_trap_entry, @function
        .balign 16
understudy_trap_entry:
        cmpb    $0, understudy_in_kernel
        jne     1f
        popq    resume_rip
        movq    %rsp, resume_rsp
        movq    $understudy_stack_top, %rsp
        pushq   $0
        pushq   resume_rsp
        pushq   $RFLAGS_FIXED
        pushq   resume_rip
        pushq   $-1                             // no system call
        SAVE_REGISTERS
        movb    $1, understudy_in_kernel
        xorl    %ebp, %ebp
        out     %eax, $PORT_BUDGET
        movq    %rsp, %rdi
        call    understudy_handle_interrupt
        jmp     resume
1:      // The kernel runs: nothing is live but what it had in its registers, and OUT changes none.
        movb    $1, understudy_interrupt_pending
        out     %eax, $PORT_BUDGET
        ret

// The clock, in nanoseconds since boot. A kick lowers `armed` and `cell` together at any instruction, so the pair is
// read until `armed` did not change in between. Only the difference may survive: the raw values differ in a replica.
        .global understudy_clock
        .type understudy_clock, @function
        .balign 16
understudy_clock:
1:      movq    CONTROL_ARMED, %rax
        movq    %rax, %rcx
        subq    CONTROL_CELL, %rcx
        cmpq    CONTROL_ARMED, %rax
        jne     1b
        shrq    $CLOCK_SHIFT, %rcx
        movq    CONTROL_CLOCK, %rax
        addq    %rcx, %rax
        ret

// SSE state, for signal frames. RDI: 512 bytes, 16-byte aligned.
        .global understudy_save_fpu, understudy_restore_fpu, understudy_write_fs_base, understudy_write_gs_base
understudy_save_fpu:
        fxsave64 (%rdi)
        ret
understudy_restore_fpu:
        fxrstor64 (%rdi)
        ret
understudy_write_fs_base:
        wrfsbase %rdi
        ret
understudy_write_gs_base:
        wrgsbase %rdi
        ret

// The program's way out of a signal handler that registered no restorer.
        .global understudy_signal_return
understudy_signal_return:
        movl    $SYS_RT_SIGRETURN, %eax
        jmp     understudy_syscall_entry

// A panic stops here: an invalid opcode at this symbol is not the program's.
        .global understudy_panic_stop
        .type understudy_panic_stop, @function
understudy_panic_stop:
        ud2
        .size understudy_panic_stop, . - understudy_panic_stop

// The IDT's 256 gates. Each stub completes the FaultFrame that the processor began and hands over to the monitor,
// which ends the run: a fault is never resumed.
        .section .text.vectors, "ax"
        .global understudy_vectors
        .type understudy_vectors, @function
        .balign 16
understudy_vectors:
        .set vector, 0
        .rept 256
        .balign VECTOR_STUB_SIZE
        .if !((vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30))
        pushq   $0
        .endif
        pushq   $vector
        jmp     fault
        .set vector, vector + 1
        .endr
        .balign VECTOR_STUB_SIZE

        .text
fault:
        movq    %rsp, CONTROL_FAULT_FRAME
        out     %eax, $PORT_FAULT
        jmp     fault

        .bss
        .balign 16
        .skip   KERNEL_STACK_SIZE
        .global understudy_stack_top
understudy_stack_top:
        .global understudy_in_kernel, understudy_interrupt_pending
resume_rip:                     .quad 0
resume_rsp:                     .quad 0
understudy_in_kernel:           .byte 0
understudy_interrupt_pending:   .byte 0

        .section .note.GNU-stack, "", @progbits
