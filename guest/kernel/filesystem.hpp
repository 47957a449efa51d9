// The program's view of files: paths, the root archive, a few devices.
#pragma once

namespace understudy::kernel {

// Opens the root archive and descriptors 0, 1 and 2.
void initialize_filesystem();

}  // namespace understudy::kernel
