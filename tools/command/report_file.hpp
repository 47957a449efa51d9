// A file for the result of work that takes minutes: asked for before it, and written behind what is printed.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/file_descriptor.hpp"
#include "tools/image/pending_file.hpp"

namespace understudy::tools {

// What was in the file stays until the new content is there as a whole. A device or a pipe is written to as it is.
class ReportFile {
  public:
    // Empty: there is no file, and nothing is written. Throws understudy::Error where none can be written.
    explicit ReportFile(std::string name);

    // Once. Throws understudy::Error; a full disk is one.
    void write(std::string_view content);

  private:
    std::string name_;
    std::optional<PendingFile> pending_;
    FileDescriptor stream_;
};

}  // namespace understudy::tools
