// A directory for what is needed no longer than this process.
#pragma once

#include <filesystem>
#include <string_view>

namespace understudy {

// A new directory below $TMPDIR, removed with all that is in it unless keep() was called.
class TemporaryDirectory {
  public:
    explicit TemporaryDirectory(std::string_view prefix = "understudy");  // throws understudy::Error
    ~TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    void keep() { kept_ = true; }

  private:
    std::filesystem::path path_;
    bool kept_ = false;
};

}  // namespace understudy
