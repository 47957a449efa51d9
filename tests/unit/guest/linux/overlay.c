/* The overlay's files, and their functions as the tests want them. */
#include "guest/linux/overlay/call_plan.c"
#include "guest/linux/overlay/calls.c"
#include "guest/linux/overlay/functions.c"
#include "guest/linux/overlay/sites.c"
#include "tests/unit/guest/linux/sites_interface.h"

static const unsigned long start = 0x7f0000000000;

static struct vm_area_struct mapping_of(struct file *file)
{
	return (struct vm_area_struct){
		.vm_start = start,
		.vm_end = start + (file->bytes ? file->size : PAGE_SIZE) + PAGE_SIZE,
		.vm_pgoff = 0,
		.vm_file = file->bytes ? file : NULL,
	};
}

void find_sites_of_page(const uint8_t *bytes, size_t file_size, const uint8_t *page, size_t offset, uint64_t *bits)
{
	struct file file = { bytes, file_size };
	struct vm_area_struct vma = mapping_of(&file);
	struct understudy_sites sites;
	struct text text;

	understudy_read_text(&vma, start + offset, page, &text);
	understudy_find_sites(&text, &sites);
	memcpy(bits, sites.at, sizeof(sites.at));
}

void replace_site_byte(uint8_t *site)
{
	understudy_replace_site(site);
}

int rewrite_calls_of_page(const uint8_t *bytes, size_t file_size, size_t offset, uint8_t *page)
{
	struct file file = { bytes, file_size };
	struct vm_area_struct vma = mapping_of(&file);
	struct text text;

	understudy_read_text(&vma, start + offset, page, &text);
	return understudy_rewrite_calls(&text, page);
}
