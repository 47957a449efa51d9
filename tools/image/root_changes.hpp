// What a root needs beside what its packages or its tar bring.
#pragma once

#include "tools/image/image_request.hpp"
#include "tools/image/root_tree.hpp"

namespace understudy::tools {

// Empty mount points for what init mounts, no trace of the host that built it or of this one build, systemd's ways on
// a console and on a read-only root, and the additions. Throws understudy::Error; also where the root is none.
void change_root(RootTree& root, const ImageRequest& request);

}  // namespace understudy::tools
