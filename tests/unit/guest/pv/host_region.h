/* Included before everything else where the layer's code is compiled for the host (-include): its region, and memory as
 * it sees it, at addresses that a process can have. */
#include "guest/abi/paravirtual.h"
#undef UNDERSTUDY_LAYER_ADDRESS
#undef UNDERSTUDY_PHYSICAL_ADDRESS
#define UNDERSTUDY_LAYER_ADDRESS 0x7ea000000000
#define UNDERSTUDY_PHYSICAL_ADDRESS 0x7eb000000000
