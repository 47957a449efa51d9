// What a guest's disk image says of itself, before a guest meets it.
#pragma once

#include <filesystem>

namespace understudy::machine {

// Whether Understudy's own init is to mount the image as the guest's root.
enum class DiskUse { root, any };

// Throws understudy::Error: a file that cannot be read, one that was cut short (its file system is longer than it is),
// and for a root one without a file system that init mounts: erofs, squashfs, ext4.
void check_disk_image(const std::filesystem::path& path, DiskUse use);

}  // namespace understudy::machine
