// Xen's public interface, from Debian's libxen-dev: what Linux's PV guest speaks (include/xen/interface in its source).
#pragma once

#define __XEN_INTERFACE_VERSION__ 0x00040d00  // NOLINT: the headers want to know which version of them is meant

// Unsigned where the headers leave it open.
#include <cstddef>
#include <cstdint>

// clang-format off
#include <xen/xen.h>
#include <xen/callback.h>
#include <xen/errno.h>
#include <xen/event_channel.h>
#include <xen/features.h>
#include <xen/memory.h>
#include <xen/physdev.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/version.h>
// clang-format on
