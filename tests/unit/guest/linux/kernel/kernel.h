/* As much of the kernel's interfaces as the judge of pages uses (guest/linux/overlay), for the host: included before everything else. */
#ifndef UNDERSTUDY_TEST_KERNEL_H
#define UNDERSTUDY_TEST_KERNEL_H

#include <errno.h>
#include <linux/elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int32_t s32;
typedef int64_t s64;

#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define BITS_PER_LONG 64
#define BIT_ULL(bit) (1ULL << (bit))
#define DECLARE_BITMAP(name, bits) unsigned long name[(bits) / BITS_PER_LONG]
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define max_t(type, a, b) max((type)(a), (type)(b))
#define S8_MIN INT8_MIN
#define S8_MAX INT8_MAX
#define min_t(type, a, b) min((type)(a), (type)(b))
#define round_down(value, unit) ((value) / (unit) * (unit))
#define offset_in_page(address) ((address) % PAGE_SIZE)

static inline void __set_bit(long bit, unsigned long *map)
{
	map[bit / BITS_PER_LONG] |= 1UL << bit % BITS_PER_LONG;
}

static inline unsigned int find_next_bit(const unsigned long *map, unsigned int bits, unsigned int at)
{
	while (at < bits && !(map[at / BITS_PER_LONG] >> at % BITS_PER_LONG & 1))
		at++;
	return at;
}

static inline void bitmap_zero(unsigned long *map, unsigned int bits)
{
	memset(map, 0, bits / 8);
}

static inline unsigned int bitmap_weight(const unsigned long *map, unsigned int bits)
{
	unsigned int i, weight = 0;

	for (i = 0; i < bits / BITS_PER_LONG; i++)
		weight += (unsigned int)__builtin_popcountl(map[i]);
	return weight;
}

/* The kernel's names for the structures of the user's <linux/elf.h>. */
#define elfhdr elf64_hdr
#define elf_phdr elf64_phdr

/* A file, as bytes. */
struct file {
	const u8 *bytes;
	size_t size;
};
ssize_t kernel_read(struct file *file, void *buffer, size_t size, loff_t *offset);

typedef u64 pteval_t;
struct page;
struct vm_area_struct {
	unsigned long vm_start, vm_end, vm_pgoff;
	struct file *vm_file;
};

/* Pages of memory: of a file's mapping there are none, in these tests; the file is read. */
#define FOLL_GET 4
static inline struct page *follow_page(struct vm_area_struct *vma, unsigned long address, unsigned int flags)
{
	(void)vma, (void)address, (void)flags;
	return NULL;
}
static inline bool IS_ERR_OR_NULL(const void *pointer)
{
	return !pointer;
}
static inline void *page_address(struct page *page)
{
	return page;
}
static inline void put_page(struct page *page)
{
	(void)page;
}

#define GFP_KERNEL 0
static inline void *kzalloc(size_t size, int flags)
{
	(void)flags;
	return calloc(1, size);
}
static inline void kfree(void *memory)
{
	free(memory);
}

/* The kernel's instruction decoder: here by Zydis (decoder.c). */
#define MAX_INSN_SIZE 15
enum insn_mode { INSN_MODE_64 };
struct insn_field {
	u8 nbytes;
};
struct insn {
	struct insn_field prefixes, rex_prefix;
	u8 length;
};
int insn_decode(struct insn *insn, const void *code, int bytes, enum insn_mode mode);

#endif
