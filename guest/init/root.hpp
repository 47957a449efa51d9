// The root that the command sees: the image below, read-only, and a file system in memory above it that takes what is
// written (overlayfs).
#pragma once

#include "guest/init/settings.hpp"

namespace understudy::init {

// Mounts what every program expects (/proc, /sys, /dev, /run, /tmp, control groups) and makes the image the root, if
// there is one. Powers off if the image cannot be mounted.
void prepare_root(const Settings& settings);

}  // namespace understudy::init
