// A guest's root, unpacked in a directory of this host, and changed there before it becomes an image.
#pragma once

#include <sys/types.h>

#include <ctime>
#include <filesystem>
#include <string>
#include <string_view>

#include "common/file_descriptor.hpp"

namespace understudy::tools {

// The time of everything that a build writes itself, so that what was built twice is the same. As SOURCE_DATE_EPOCH it
// is also the latest time in a root of packages. 2023-06-10, the day of Debian 12.
constexpr std::time_t kImageTime = 1686355200;

// Paths are those of the guest, absolute. Whoever made the root chose its symbolic links: they are followed as the
// guest would follow them, and never lead out of the root (openat2, RESOLVE_IN_ROOT). Owners are root, times
// kImageTime; a directory in which something changed keeps its time. Everything throws understudy::Error. Not for
// several threads.
class RootTree {
  public:
    explicit RootTree(const std::filesystem::path& root);

    // Whether there is anything, be it a link that leads nowhere.
    [[nodiscard]] bool has(const std::string& path) const;
    // Whether the root itself is empty.
    [[nodiscard]] bool empty() const;

    // With its parents (0755), unless it is there.
    void make_directory(const std::string& path, mode_t mode = 0755);
    // An empty directory directly below the root, whatever was there before.
    void make_mount_point(const std::string& name, mode_t mode = 0755);
    // In place of whatever file or link is there; the directory is made where it is missing.
    void write_file(const std::string& path, std::string_view content, mode_t mode = 0644);
    void make_link(const std::string& path, const std::string& target);
    // Files and links; what is not there needs no removal.
    void remove(const std::string& path);
    // Those in a directory whose names begin with `prefix`.
    void remove_files(const std::string& directory, std::string_view prefix);
    // A file, a link, or a directory with what is in it, beside what is there already.
    void add(const std::filesystem::path& host, const std::string& path);

  private:
    [[nodiscard]] FileDescriptor find_directory(const std::string& path) const;  // none: it is not there
    [[nodiscard]] FileDescriptor directory(const std::string& path);             // made where it is missing
    void add_file(const std::filesystem::path& host, const std::string& path, mode_t mode);

    FileDescriptor root_;
};

}  // namespace understudy::tools
