// A file that is there whole or not at all.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string_view>

#include "common/file_descriptor.hpp"

namespace understudy::tools {

// A new file without a name beside `target` (O_TMPFILE; where the file system has no such thing, a temporary name),
// which takes the target's place when it is complete. Until then a process that is killed leaves nothing behind.
class PendingFile {
  public:
    // Throws understudy::Error when no file can be made there: ask before the work, not after it.
    explicit PendingFile(std::filesystem::path target);
    ~PendingFile();
    PendingFile(const PendingFile&) = delete;
    PendingFile& operator=(const PendingFile&) = delete;

    // The content of another file, from its beginning. Throws understudy::Error; a full disk is one.
    void copy(const FileDescriptor& from);
    // Added at the end. Throws understudy::Error.
    void write(std::string_view text);
    // On the disk and in its place when this returns, readable by everybody. Throws understudy::Error.
    void commit();

  private:
    void copy_through_memory(const FileDescriptor& from, off_t offset);
    [[nodiscard]] std::filesystem::path temporary_name() const;

    std::filesystem::path target_;
    FileDescriptor file_;
    std::filesystem::path name_;  // temporary; empty: it has none
};

}  // namespace understudy::tools
