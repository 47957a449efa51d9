/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The contract of the three parties of a Linux guest: the monitor (C++), the paravirtual layer (guest/pv, freestanding
 * C++) and what is built into the kernel (guest/linux, C). docs/guest-abi.md tells it in prose.
 *
 * Guest physical memory, in this order:
 *
 *   0                  the kernel's RAM, UNDERSTUDY_LARGE_PAGE aligned in size
 *   ram                the layer's region, UNDERSTUDY_LAYER_BYTES: struct understudy_layer, then the rest
 *   ram + LAYER_BYTES  the machine-to-physical table that Xen's interface asks for: identity, 8 bytes a page of RAM
 *
 * PML4 slot 257 of every address space belongs to the layer. All of the guest runs in ring 3, so nothing there is out of
 * anybody's reach: whatever the monitor reads there it checks.
 */
#ifndef UNDERSTUDY_PARAVIRTUAL_H
#define UNDERSTUDY_PARAVIRTUAL_H

#define UNDERSTUDY_PV_VERSION 2

#define UNDERSTUDY_LARGE_PAGE 0x200000

/* Virtual addresses. The control page lies at the same place in every process, below all that programs are linked at. */
#define UNDERSTUDY_CONTROL_ADDRESS 0x40000
#define UNDERSTUDY_LAYER_ADDRESS 0xffff808000000000
#define UNDERSTUDY_PHYSICAL_ADDRESS 0xffff80c000000000 /* all of guest memory, in large pages */
#define UNDERSTUDY_PML4_SLOT 257
/* Hypercalls are calls to this address, in Xen's registers: RAX number, RDI RSI RDX R10 R8 arguments, RAX result, every
 * other register kept. HYPERVISOR_iret is one of them. */
#define UNDERSTUDY_HYPERCALL_ADDRESS 0xffff808000000400

/* The layer's region. */
#define UNDERSTUDY_LAYER_BYTES 0x400000
#define UNDERSTUDY_TABLES_OFFSET 0x100000  /* page tables of slot 257, GDT, IDT, TSS: the monitor's, at boot */
#define UNDERSTUDY_SHARED_OFFSET 0x180000  /* Xen's shared_info */
#define UNDERSTUDY_CPUID_OFFSET 0x181000   /* struct understudy_cpuid[] */
#define UNDERSTUDY_DEVICES_OFFSET 0x182000 /* struct understudy_device[UNDERSTUDY_DEVICES], a page each */
#define UNDERSTUDY_CONSOLE_OFFSET 0x1a0000 /* early console text: a ring of bytes */
#define UNDERSTUDY_CONSOLE_BYTES 0x10000
#define UNDERSTUDY_EXCEPTION_STACK_BYTES 0x4000

/* --- Ports: the guest stops itself by `out imm8, %eax` ------------------------------------------------------------ */
/* Stops, at which the monitor records or replays. */
#define UNDERSTUDY_PORT_IDLE 0x10   /* wait for an event or idle_deadline */
#define UNDERSTUDY_PORT_BUDGET 0x11 /* the counter cell turned negative */
#define UNDERSTUDY_PORT_EXIT 0x12   /* the guest has powered off (EAX: status), asked for a reset or crashed */
#define UNDERSTUDY_PORT_FAULT 0x13  /* the layer cannot go on; EAX: enum understudy_fault */
#define UNDERSTUDY_PORT_DEVICE 0x14 /* look at device EAX: its status or queues have changed */
#define UNDERSTUDY_PORT_FLUSH 0x15  /* look at the queues and the console ring now */
#define UNDERSTUDY_PORT_INTERRUPT 0x16 /* behind an interrupt of the monitor's; no stop where the monitor raised none */
/* Services of the processor that ring 3 has no instruction for: no stops, no records. */
#define UNDERSTUDY_PORT_PAGE_TABLE 0x20    /* CR3 = EAX << 12 */
#define UNDERSTUDY_PORT_FLUSH_TLB 0x21     /* forget every translation */
#define UNDERSTUDY_PORT_FAULT_ADDRESS 0x22 /* fault_address = CR2 */

/* --- Rewritten system calls: `jmp *UNDERSTUDY_CALL_SLOT`, with RCX and R11 lost as SYSCALL loses them ------------------ */
#define UNDERSTUDY_CALL_SLOT 0x40018 /* control page, syscall_entry */
/* R11: any address in the page of the site. ECX: in its low bits the offset in that page that is returned to, behind the
 * SYSCALL; above it the number of the call, or, if this is set, RAX has that. */
#define UNDERSTUDY_CALL_NUMBERED 0x80000000u
#define UNDERSTUDY_CALL_NUMBER_SHIFT 16
#define UNDERSTUDY_CALL_NUMBER_MAX 0x7fff
#define UNDERSTUDY_CALL_OFFSET_MASK 0x1fff

/* EAX of an exit: the reason in bits 8.., the status in bits 0..7. */
#define UNDERSTUDY_EXIT_POWEROFF 0
#define UNDERSTUDY_EXIT_REBOOT 1
#define UNDERSTUDY_EXIT_CRASH 2

#ifndef __ASSEMBLER__
#ifdef __KERNEL__
#include <linux/types.h>
typedef u8 understudy_u8;
typedef u32 understudy_u32;
typedef u64 understudy_u64;
typedef s64 understudy_s64;
#else
#include <stdint.h>
typedef uint8_t understudy_u8;
typedef uint32_t understudy_u32;
typedef uint64_t understudy_u64;
typedef int64_t understudy_s64;
#endif

/* --- The control page: the kernel's symbol understudy_control, mapped into every process ---------------------------- */
struct understudy_control {
	/* The counter cell: counted code does `subq $n, cell; js -> call *trap_entry`. armed - cell has been counted since
	 * the last stop. The monitor may lower both together between any two instructions: read them by the loop in
	 * docs/guest-abi.md alone, and keep neither value. */
	understudy_s64 cell;
	understudy_s64 armed;
	understudy_u64 trap_entry;    /* the layer's; keeps every register */
	understudy_u64 syscall_entry; /* the layer's: where rewritten SYSCALL sites jump; see UNDERSTUDY_CALL_* */
	/* The clock: now = clock_ns + ((armed - cell) >> UNDERSTUDY_CLOCK_SHIFT). */
	understudy_u64 clock_ns;
	/* CLOCK_REALTIME = the clock + this, at boot. */
	understudy_u64 realtime_offset_ns;
};
#define UNDERSTUDY_CLOCK_SHIFT 2

/* --- The head of the layer's region -------------------------------------------------------------------------------- */
enum understudy_fault {
	UNDERSTUDY_FAULT_NONE = 0,
	UNDERSTUDY_FAULT_IN_LAYER,      /* the layer itself faulted: the kernel gave it a bad pointer or stack */
	UNDERSTUDY_FAULT_NO_HANDLER,    /* an exception before the kernel had a handler for it */
	UNDERSTUDY_FAULT_HYPERCALL,     /* a hypercall that this layer does not offer, at a place where Linux does not ask */
};

/* Lines on which the monitor signals the guest: event i arrives on event channel UNDERSTUDY_EVENT_PORT + i. */
#define UNDERSTUDY_EVENT_PORT 1
enum understudy_event {
	UNDERSTUDY_EVENT_DEVICE = 0, /* + device number */
	UNDERSTUDY_EVENT_POWER = 15, /* the operator asks the guest to power off */
	UNDERSTUDY_EVENTS = 16,
};

struct understudy_ring {
	understudy_u64 produced; /* only grow; index modulo the ring's size is the place */
	understudy_u64 consumed;
};

struct understudy_layer {
	understudy_u64 magic; /* UNDERSTUDY_LAYER_MAGIC */
	understudy_u32 version;
	understudy_u32 image_bytes; /* of the layer's image, its zeroed part included */

	/* Entry points, set where the layer is linked. */
	understudy_u64 start; /* where the guest begins: RSI = start_info, RSP = a stack, RAX = the kernel's entry */
	understudy_u64 trap_entry;
	understudy_u64 syscall_entry;
	understudy_u64 syscall_stub; /* LSTAR */
	understudy_u64 vectors;      /* 256 stubs of UNDERSTUDY_VECTOR_BYTES */
	/* Its upper end: IST 1. What exceptions leave on it is the processor's, raw flags among it, and of no use to anybody:
	 * the monitor clears it at stops. */
	understudy_u64 exception_stack;

	/* Set by the monitor at boot. */
	understudy_u64 memory_bytes; /* the kernel's RAM */
	understudy_u64 control;      /* physical address of the control page */
	understudy_u64 page_table;   /* CR3; afterwards the layer's */
	understudy_u32 cpuid_entries;
	understudy_u32 reserved;

	/* Between layer and monitor. */
	understudy_u64 idle_deadline; /* layer, before an idle stop: clock at which it wants to go on; all ones: never */
	understudy_u64 fault_address; /* monitor: the answer of UNDERSTUDY_PORT_FAULT_ADDRESS */
	understudy_u64 fault_frame;   /* layer, before a fault: virtual address of the struct understudy_frame */
	understudy_u64 events;        /* monitor at stops: bit i raises event i; the layer clears it */
	struct understudy_ring console;

	/* Written by the kernel, without a hypercall. */
	understudy_u64 kernel_stack; /* where entries from programs begin */
	understudy_u64 user_gs;      /* GS base of the program, while the kernel runs */
	understudy_u64 kernel_gs;
	/* A translation that a program may still hold was taken back, and no flush has followed: the layer flushes before a
	 * program runs again. */
	understudy_u64 flush_due;

	/* Figures, for reports. Guest memory: nothing may be counted that one replica sees and another does not. */
	understudy_u64 page_faults;
	understudy_u64 undecoded_faults;
	understudy_u64 hypercalls;
	understudy_u64 system_calls;
	understudy_u64 upcalls;
	understudy_u64 emulated;

	/* Layer: the clock when the monitor last interrupted a program, which will compute on; 0: it never has. */
	understudy_u64 interrupted_ns;
};
#define UNDERSTUDY_LAYER_MAGIC 0x3156505453444e55 /* "UNDSTPV1" */
#define UNDERSTUDY_VECTOR_BYTES 16
/* The monitor interrupts a program between two of its instructions as the processor would: the frame on the exception
 * stack, and on from this vector. */
#define UNDERSTUDY_INTERRUPT_VECTOR 0xf0

/* What an entry of the layer leaves on its stack, lowest address first. */
struct understudy_frame {
	understudy_u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	understudy_u64 vector;
	understudy_u64 error_code; /* 0 where the processor pushes none */
	understudy_u64 rip, cs, rflags, rsp, ss;
};

struct understudy_cpuid {
	understudy_u32 leaf, subleaf;
	understudy_u32 any_subleaf; /* 1: whatever ECX holds */
	understudy_u32 kernel_only; /* 1: programs are told of nothing */
	understudy_u32 eax, ebx, ecx, edx;
};

/* --- Devices: virtio 1.2 over a transport of our own ------------------------------------------------------------------ */
/* One page a device. The driver writes what is marked "driver" and then stops the guest by UNDERSTUDY_PORT_DEVICE; the
 * monitor answers in the same page before the guest goes on. Queues are looked at at every stop, without a doorbell. */
#define UNDERSTUDY_DEVICES 8
#define UNDERSTUDY_QUEUES 4
struct understudy_queue {
	understudy_u32 size_max; /* device; 0: there is no such queue */
	understudy_u32 size;     /* driver: a power of two */
	understudy_u32 ready;    /* driver: 0 or 1 */
	understudy_u32 reserved;
	understudy_u64 descriptors; /* driver: physical addresses */
	understudy_u64 available;
	understudy_u64 used;
};
struct understudy_device {
	understudy_u32 device_id; /* device: virtio's number; 0: none here */
	understudy_u32 status;    /* driver: virtio's device status; 0 resets */
	understudy_u64 device_features;
	understudy_u64 driver_features;
	understudy_u32 config_generation;
	understudy_u32 queues;
	struct understudy_queue queue[UNDERSTUDY_QUEUES];
	understudy_u8 config[256]; /* device-specific, as in virtio */
};

#endif /* __ASSEMBLER__ */
#endif
