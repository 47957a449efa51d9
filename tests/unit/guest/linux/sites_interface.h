/* Between sites.cpp and the overlay's file, which is C. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes a bit for each byte of the page: 64 words. `file`: null for memory of no file. */
void find_sites_of_page(const uint8_t *file, size_t file_size, const uint8_t *page, size_t offset, uint64_t *bits);
void replace_site_byte(uint8_t *site);
/* Rewrites the system calls in `page`, a copy of that at `offset` of the file. Returns how many. */
int rewrite_calls_of_page(const uint8_t *bytes, size_t file_size, size_t offset, uint8_t *page);

#ifdef __cplusplus
}
#endif
