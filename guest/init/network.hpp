// Names and addresses, before anything runs that could listen on them.
#pragma once

#include "guest/init/settings.hpp"

namespace understudy::init {

// Complains about what does not work and goes on: a guest without its address can still be looked at on its console.
void prepare_network(const Settings& settings);

}  // namespace understudy::init
