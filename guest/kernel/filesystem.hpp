// Where the program's paths lead: into the root archive, or to one of a few devices.
#pragma once

#include <asm/stat.h>

#include <optional>
#include <string_view>

#include "guest/kernel/archive.hpp"
#include "guest/kernel/devices.hpp"
#include "guest/kernel/file.hpp"
#include "guest/kernel/result.hpp"

namespace understudy::kernel {

// Opens the root archive and descriptors 0, 1 and 2.
void initialize_filesystem();

// The device that `path` names.
std::optional<Device> device_at(std::string_view path);

// Nowhere (a null node) exactly when the outcome is a failure.
struct Place {
    Result outcome;
    const Archive::Node* node = nullptr;
};
// Where in the archive `path`, the program's, leads from descriptor `directory` on; a link at its end is followed if
// asked for.
Place resolve(int directory, std::string_view path, bool follow);

const Archive::Node& working_directory();
// `directory` is a directory's node.
void set_working_directory(const Archive::Node& directory);
// The directory that a file is, or null.
const Archive::Node* directory_of(const File& file);

// Describes what `path`, the program's, names from descriptor `directory` on; `flags`: AT_*.
Result describe_path(int directory, std::string_view path, unsigned flags, struct stat& status);
// Describes the descriptor's file.
Result describe_descriptor(int fd, struct stat& status);
// Whether a file could be made at `path`: its directory exists. 0, or the error that Linux has for it.
Result check_parent(int directory, std::string_view path);

}  // namespace understudy::kernel
