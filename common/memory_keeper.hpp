// A process that is killed is silent to its peers only once the kernel has closed its sockets, and the kernel frees its
// memory first, which takes the longer the more it is. So the memory gets a second holder, a process that does nothing
// else: sockets then close at once, and the memory is freed after that.
#pragma once

#include <sys/types.h>

namespace understudy {

// For good: the keeper ends after this process, however that ends. It shares all memory (CLONE_VM), has no descriptor
// but a pipe's end, blocks all signals, and may do nothing but read that pipe and end (seccomp): it is so when this
// returns. Returns its process id; 0 where the kernel has none to give, or in a build for ThreadSanitizer, and then
// everything is as without. To be called from one thread, before there are others.
pid_t keep_memory_past_end();

}  // namespace understudy
