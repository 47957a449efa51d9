// SPDX-License-Identifier: GPL-2.0
/*
 * Page tables. Xen's PV code asks its hypervisor for every entry; here the kernel may write its tables itself, frames are
 * what they seem to be, and nothing has to be pinned. What is left to do:
 *
 * - An entry that is present has its accessed bit set, and its dirty bit where it is writable, so that the processor
 *   never writes it: it would do so at moments that no record holds. The "young" bit is therefore no news to anybody.
 * - Loading CR3 and forgetting translations are services of the layer, an exit each. The page that the kernel forgets
 *   when it breaks copy-on-write is made up for by touching its new entry: a fault, cheaper than an exit. That is for
 *   this case alone: the old translation permits no writing, and nobody uses it before the new entry is there.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <asm/i8259.h>
#include <asm/paravirt.h>
#include <asm/tlbflush.h>
#include <asm/x86_init.h>
#include <asm/xen/hypervisor.h>
#include "copies.h"
#include "understudy.h"

extern unsigned long tlb_single_page_flush_ceiling;

/* A page whose translation is to be forgotten before a program runs again; 0: none. */
static unsigned long forgotten_page;

extern pteval_t understudy_pte_val(pteval_t value);

static pteval_t normalized(pteval_t value)
{
	if (!(value & _PAGE_PRESENT))
		return value;
	value |= _PAGE_ACCESSED | _PAGE_USER;
	if (value & _PAGE_RW)
		value |= _PAGE_DIRTY;
	return value;
}

static void flush_all(void)
{
	forgotten_page = 0;
	understudy_request(UNDERSTUDY_PORT_FLUSH_TLB, 0);
}

/* Who is in a fault that writes, and where: NULL, or the last to begin one. */
static const struct task_struct *writer;
static unsigned long written_page;

void understudy_begin_write_fault(unsigned long address)
{
	writer = current;
	written_page = address;
}

void understudy_end_write_fault(void)
{
	if (writer == current)
		writer = NULL;
	if (forgotten_page) /* no new entry came */
		flush_all();
}

static void flush_one(unsigned long address)
{
	address &= PAGE_MASK;
	if (writer == current && written_page == address && !forgotten_page)
		forgotten_page = address;
	else
		flush_all();
}

static void flush_multi(const struct cpumask *cpus, const struct flush_tlb_info *info)
{
	flush_all();
}

static pte_t *forgotten_entry(void)
{
	struct mm_struct *mm = current->active_mm;
	pgd_t *pgd = pgd_offset(mm, forgotten_page);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (pgd_none(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, forgotten_page);
	pud = pud_offset(p4d, forgotten_page);
	if (pud_none(*pud))
		return NULL;
	pmd = pmd_offset(pud, forgotten_page);
	return pmd_none(*pmd) ? NULL : pte_offset_kernel(pmd, forgotten_page);
}

static void our_set_pte(pte_t *ptep, pte_t pte)
{
	pteval_t value = native_pte_val(pte);

	if ((value & (_PAGE_PRESENT | _PAGE_USER)) == (_PAGE_PRESENT | _PAGE_USER) &&
	    ((value & (_PAGE_NX | _PAGE_RW)) != _PAGE_NX || (value & UNDERSTUDY_COPY)))
		value = understudy_program_entry(value);
	native_set_pte(ptep, native_make_pte(normalized(value)));
	/* What was written: of an entry that asks for writing and execution, at first only the one. */
	if (unlikely(forgotten_page) && (value & (_PAGE_PRESENT | _PAGE_RW)) == (_PAGE_PRESENT | _PAGE_RW) &&
	    ptep == forgotten_entry()) {
		/* The old translation does not permit this; what is found instead is the new one. */
		asm volatile("lock orb $0, (%0)" : : "r"(forgotten_page) : "memory");
		forgotten_page = 0;
	}
}

static void our_set_pmd(pmd_t *pmdp, pmd_t pmd)
{
	native_set_pmd(pmdp, native_make_pmd(normalized(native_pmd_val(pmd))));
}

static void our_set_pud(pud_t *pudp, pud_t pud)
{
	native_set_pud(pudp, native_make_pud(normalized(native_pud_val(pud))));
}

static void our_set_p4d(p4d_t *p4dp, p4d_t p4d)
{
	native_set_p4d(p4dp, native_make_p4d(normalized(native_p4d_val(p4d))));
}

static pte_t modify_start(struct vm_area_struct *vma, unsigned long address, pte_t *ptep)
{
	return ptep_get_and_clear(vma->vm_mm, address, ptep);
}

static void modify_commit(struct vm_area_struct *vma, unsigned long address, pte_t *ptep, pte_t pte)
{
	our_set_pte(ptep, pte);
}

static unsigned long our_read_cr3(void)
{
	return understudy_layer()->page_table;
}

static void our_write_cr3(unsigned long cr3)
{
	forgotten_page = 0;
	understudy_request(UNDERSTUDY_PORT_PAGE_TABLE, PHYS_PFN(cr3));
}

static int pgd_alloc_nothing(struct mm_struct *mm)
{
	return 0;
}

static void take_over(void)
{
	struct pv_mmu_ops *mmu = &pv_ops.mmu;

	mmu->set_pte = our_set_pte;
	mmu->set_pmd = our_set_pmd;
	mmu->set_pud = our_set_pud;
	mmu->set_p4d = our_set_p4d;
	mmu->ptep_modify_prot_start = modify_start;
	mmu->ptep_modify_prot_commit = modify_commit;

	mmu->pte_val = __PV_IS_CALLEE_SAVE(understudy_pte_val);
	mmu->make_pte = __PV_IS_CALLEE_SAVE(_paravirt_ident_64);
	mmu->pmd_val = __PV_IS_CALLEE_SAVE(_paravirt_ident_64);
	mmu->make_pmd = __PV_IS_CALLEE_SAVE(_paravirt_ident_64);
	mmu->pud_val = __PV_IS_CALLEE_SAVE(_paravirt_ident_64);
	mmu->make_pud = __PV_IS_CALLEE_SAVE(_paravirt_ident_64);
	mmu->pgd_val = __PV_IS_CALLEE_SAVE(_paravirt_ident_64);
	mmu->make_pgd = __PV_IS_CALLEE_SAVE(_paravirt_ident_64);

	mmu->alloc_pte = paravirt_nop;
	mmu->alloc_pmd = paravirt_nop;
	mmu->alloc_pud = paravirt_nop;
	mmu->release_pte = paravirt_nop;
	mmu->release_pmd = paravirt_nop;
	mmu->release_pud = paravirt_nop;
	mmu->pgd_alloc = pgd_alloc_nothing;
	mmu->pgd_free = paravirt_nop;
	mmu->activate_mm = paravirt_nop;
	mmu->dup_mmap = paravirt_nop;
	mmu->exit_mmap = paravirt_nop;

	mmu->read_cr3 = our_read_cr3;
	mmu->write_cr3 = our_write_cr3;
	mmu->flush_tlb_user = flush_all;
	mmu->flush_tlb_kernel = flush_all;
	mmu->flush_tlb_one_user = flush_one;
	mmu->flush_tlb_multi = flush_multi;

	mmu->lazy_mode.enter = paravirt_nop;
	mmu->lazy_mode.leave = paravirt_nop;
	mmu->lazy_mode.flush = paravirt_nop;

	/* Beyond one page a flush of everything is one exit, and so is each page. */
	tlb_single_page_flush_ceiling = 1;
}

static void our_load_sp0(unsigned long sp0)
{
	understudy_layer()->kernel_stack = sp0;
	this_cpu_write(cpu_tss_rw.x86_tss.sp0, sp0);
	understudy_switched();
}

static u64 (*other_read_msr)(unsigned int msr);

/* Each switch between threads asks for the program's GS base: RDMSR is a trap, and the layer has it in memory. */
static u64 our_read_msr(unsigned int msr)
{
	return msr == MSR_KERNEL_GS_BASE ? understudy_layer()->user_gs : other_read_msr(msr);
}

/* RDTSC is the guest's clock, in nanoseconds: there is nothing to measure it by, and no need. */
static unsigned long counter_khz(void)
{
	return NSEC_PER_MSEC;
}

static void (*xen_pagetable_init)(void);

static void __init pagetable_init(void)
{
	xen_pagetable_init();
	take_over(); /* it had installed its own */
}

void __real_xen_init_mmu_ops(void);
void __wrap_xen_init_mmu_ops(void);

void __init __wrap_xen_init_mmu_ops(void)
{
	__real_xen_init_mmu_ops();
	take_over();
	xen_pagetable_init = x86_init.paging.pagetable_init;
	x86_init.paging.pagetable_init = pagetable_init;
	pv_ops.cpu.load_sp0 = our_load_sp0;
	other_read_msr = pv_ops.cpu.read_msr;
	pv_ops.cpu.read_msr = our_read_msr;
	x86_platform.calibrate_cpu = counter_khz;
	/* There is no BIOS to scan for, and no interrupt controller to probe. */
	legacy_pic = &null_legacy_pic;
	x86_init.mpparse.find_smp_config = x86_init_noop;
}

int __real_ptep_test_and_clear_young(struct vm_area_struct *vma, unsigned long address, pte_t *ptep);
int __wrap_ptep_test_and_clear_young(struct vm_area_struct *vma, unsigned long address, pte_t *ptep);

/* Clearing the bit would have the processor set it. That a page is old is what lets the kernel reclaim it. */
int __wrap_ptep_test_and_clear_young(struct vm_area_struct *vma, unsigned long address, pte_t *ptep)
{
	return 0;
}

int __real_ptep_clear_flush_young(struct vm_area_struct *vma, unsigned long address, pte_t *ptep);
int __wrap_ptep_clear_flush_young(struct vm_area_struct *vma, unsigned long address, pte_t *ptep);

/* The same, where the compiler has put the other one into it. */
int __wrap_ptep_clear_flush_young(struct vm_area_struct *vma, unsigned long address, pte_t *ptep)
{
	return 0;
}
