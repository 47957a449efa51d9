// What the network draws from the platform beyond the clock.
#pragma once

namespace understudy::kernel::net {

// Takes this boot's keys from the host's entropy.
void seed_random();

}  // namespace understudy::kernel::net
