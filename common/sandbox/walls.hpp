// The walls, one by one. Inside this folder only.
#pragma once

#include "common/sandbox/sandbox.hpp"

namespace understudy::sandbox {

// With the privileges that there are at first: root writes what it has made without any.
void make_records(const std::vector<Path>& paths);

// False: this kernel has no Landlock.
[[nodiscard]] bool confine_files(const std::vector<Path>& paths);

void drop_privileges(const Walls& walls);
void limit_resources();
void filter_system_calls(Profile profile);

}  // namespace understudy::sandbox
