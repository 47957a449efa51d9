// Numbers that the assembly needs. entry.cpp checks each against guest/abi/abi.hpp and frame.hpp.
#pragma once

#define CONTROL_CELL 0x40000
#define CONTROL_ARMED 0x40008
#define CONTROL_TRAP_ENTRY 0x40010
#define CONTROL_SYSCALL_ENTRY 0x40018
#define CONTROL_CLOCK 0x40020
#define CONTROL_FAULT_FRAME 0x40038
#define CLOCK_SHIFT 2
#define PORT_BUDGET 0x11
#define PORT_FAULT 0x13
#define VECTOR_STUB_SIZE 16

#define FRAME_RIP 128
#define FRAME_RSP 144

#define RFLAGS_DIRECTION 0x400
#define RFLAGS_FIXED 0x202 /* bit 1 and IF, which ring-3 code always has */
#define SYS_RT_SIGRETURN 15
#define KERNEL_STACK_SIZE 0x10000
