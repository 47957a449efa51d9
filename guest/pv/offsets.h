// Offsets that the assembly needs; layer.cpp asserts them against the structures.
#pragma once

#define LAYER_KERNEL_STACK 0x90
#define LAYER_USER_GS 0x98
#define LAYER_KERNEL_GS 0xa0
#define LAYER_FLUSH_DUE 0xa8
#define LAYER_SYSTEM_CALLS 0xc8

#define VCPU_INFO_PENDING 0
#define VCPU_INFO_MASK 1

// Vectors of entries that are no exceptions.
#define VECTOR_BUDGET 256
#define VECTOR_UPCALL 257
#define VECTOR_IRET 258

#define HYPERVISOR_IRET 23

#define CALL_NUMBER_SHIFT 16
#define CALL_OFFSET_MASK 0x1fff

// struct understudy_frame
#define FRAME_BYTES 176

#define EXCEPTION_STACK_BYTES 16384
