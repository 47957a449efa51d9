// SPDX-License-Identifier: GPL-2.0
/*
 * The control page: the counter cell of all counted code, kernel and programs alike. Every process has it at
 * UNDERSTUDY_CONTROL_ADDRESS: counted programs count there, rewritten system calls jump through it, the vDSO reads the
 * clock in it.
 */
#include <linux/binfmts.h>
#include <linux/elf.h>
#include <linux/mm.h>
#include <asm/vdso.h>
#include <asm/xen/hypercall.h>
#include "understudy.h"

struct understudy_control understudy_control __page_aligned_data __aligned(PAGE_SIZE) = {
	.cell = LLONG_MAX,
	.armed = LLONG_MAX,
};

long understudy_request(unsigned int port, unsigned long argument)
{
	return _hypercall2(long, arch_0, port, argument);
}

static vm_fault_t control_fault(const struct vm_special_mapping *mapping, struct vm_area_struct *vma,
				struct vm_fault *vmf)
{
	return vmf_insert_pfn(vma, vmf->address, PHYS_PFN(__pa_symbol(&understudy_control)));
}

static int control_mremap(const struct vm_special_mapping *mapping, struct vm_area_struct *vma)
{
	return -EINVAL;
}

static const struct vm_special_mapping control_mapping = {
	.name = "[understudy]",
	.fault = control_fault,
	.mremap = control_mremap,
};

int __real_arch_setup_additional_pages(struct linux_binprm *bprm, int uses_interp);
int __wrap_arch_setup_additional_pages(struct linux_binprm *bprm, int uses_interp);

int __wrap_arch_setup_additional_pages(struct linux_binprm *bprm, int uses_interp)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	vma = _install_special_mapping(mm, UNDERSTUDY_CONTROL_ADDRESS, PAGE_SIZE,
				       VM_READ | VM_WRITE | VM_SHARED | VM_DONTEXPAND | VM_PFNMAP,
				       &control_mapping);
	/* Every program comes here with its first system call. */
	if (!IS_ERR(vma))
		vmf_insert_pfn(vma, UNDERSTUDY_CONTROL_ADDRESS, PHYS_PFN(__pa_symbol(&understudy_control)));
	mmap_write_unlock(mm);
	if (IS_ERR(vma)) {
		pr_warn_once("%s: its image lies where the control page has to be (%#x)\n", current->comm,
			     UNDERSTUDY_CONTROL_ADDRESS);
		return PTR_ERR(vma);
	}
	return __real_arch_setup_additional_pages(bprm, uses_interp);
}

/*
 * Looks at the clock count in the vDSO (instructions.h), but for time(), which reads a word of memory there. Its name is
 * taken away, so that the C library asks the kernel.
 */
static int __init hide_time(void)
{
	static const char name[] __initconst = "__vdso_time";
	char *data = vdso_image_64.data;
	unsigned long at;

	for (at = 0; at + sizeof(name) <= vdso_image_64.size; at++)
		if (!memcmp(data + at, name, sizeof(name)))
			data[at] = '-';
	return 0;
}
early_initcall(hide_time);
