// The network as the rest of the kernel sees it: lwIP, fed from the rings and by the clock.
#pragma once

#include <cstdint>

#include "guest/kernel/clock.hpp"

namespace understudy::kernel::net {

void initialize();
// Feeds received frames and due timers to lwIP, until nothing is left that could happen now.
void process();
// After a system call that may have made lwIP send: delivers what it sent to itself.
void settle();
// When lwIP wants to be run again.
Nanoseconds next_deadline();
// Whether no connection has anything left to send or to have acknowledged.
bool all_sent();
// Whether `address` (network byte order) is one of the guest's own, and the one it would use towards `peer`; 0: none.
bool is_local(std::uint32_t address);
std::uint32_t source_for(std::uint32_t peer);

}  // namespace understudy::kernel::net
