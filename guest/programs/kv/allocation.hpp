// How much memory the program holds: every allocation is counted on its way to malloc.
#pragma once

#include <cstddef>

namespace understudy::kv {

std::size_t allocated_bytes();

}  // namespace understudy::kv
