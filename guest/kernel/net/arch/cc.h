// What lwIP asks of its compiler and platform.
#pragma once

#include <stdint.h>
typedef long ssize_t;

#define LWIP_NO_CTYPE_H 1
#define LWIP_NO_UNISTD_H 1
#define SSIZE_MAX __LONG_MAX__ /* tells lwIP that ssize_t is there */
#define BYTE_ORDER LITTLE_ENDIAN

#ifdef __cplusplus
extern "C" {
#endif
uint32_t understudy_random(void);
void understudy_lwip_assertion(const char* text);
#ifdef __cplusplus
}
#endif

#define LWIP_RAND() understudy_random()
#define LWIP_PLATFORM_DIAG(message) ((void)0)
#define LWIP_PLATFORM_ASSERT(text) understudy_lwip_assertion(text)
