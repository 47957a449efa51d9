# SPDX-License-Identifier: GPL-2.0
# Functions of the kernel that one of ours stands in front of; each is __wrap_NAME in one of the files here.
LDFLAGS_vmlinux += --wrap=xen_init_mmu_ops
LDFLAGS_vmlinux += --wrap=this_cpu_cmpxchg16b_emu
LDFLAGS_vmlinux += --wrap=ptep_test_and_clear_young
LDFLAGS_vmlinux += --wrap=ptep_clear_flush_young
LDFLAGS_vmlinux += --wrap=arch_setup_additional_pages
LDFLAGS_vmlinux += --wrap=exc_page_fault
LDFLAGS_vmlinux += --wrap=handle_mm_fault
LDFLAGS_vmlinux += --wrap=get_user_pages_remote
LDFLAGS_vmlinux += --wrap=pin_user_pages_remote
LDFLAGS_vmlinux += --wrap=folio_mark_dirty
LDFLAGS_vmlinux += --wrap=hw_breakpoint_arch_parse
LDFLAGS_vmlinux += --wrap=copy_page_from_iter_atomic
LDFLAGS_vmlinux += --wrap=virtqueue_enable_cb_delayed
