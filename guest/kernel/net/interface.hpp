// The network as the rest of the kernel sees it: lwIP, fed from the rings and by the clock.
#pragma once

#include "guest/kernel/clock.hpp"

namespace understudy::kernel::net {

void initialize();
// Feeds received frames and due timers to lwIP, until nothing is left that could happen now.
void process();
// When lwIP wants to be run again.
Nanoseconds next_deadline();
// Whether no connection has anything left to send or to have acknowledged.
bool all_sent();

}  // namespace understudy::kernel::net
