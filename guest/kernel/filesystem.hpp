// The program's view of files: paths, the root archive, a few devices.
#pragma once

#include <asm/stat.h>

#include <string_view>

#include "guest/kernel/result.hpp"

namespace understudy::kernel {

// Opens the root archive and descriptors 0, 1 and 2.
void initialize_filesystem();

// Describes what `path`, the program's, names from descriptor `directory` on; `flags`: AT_*.
Result describe_path(int directory, std::string_view path, unsigned flags, struct stat& status);
// Whether a file could be made at `path`: its directory exists. 0, or the error that Linux has for it.
Result check_parent(int directory, std::string_view path);

}  // namespace understudy::kernel
