// Images that were built before, and the directories in which new ones are.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/file_descriptor.hpp"

namespace understudy::tools {

// A directory for one build, removed with the object. Should the process die first, the next build removes it: a lock
// on it says whether anybody works there.
class WorkDirectory {
  public:
    // Removes what plain removing cannot: what belongs to the users of a user namespace.
    using Remover = std::function<void(const std::filesystem::path&)>;

    WorkDirectory(std::filesystem::path path, FileDescriptor lock, Remover remove);
    ~WorkDirectory();
    WorkDirectory(WorkDirectory&&) = default;
    WorkDirectory& operator=(WorkDirectory&&) = delete;
    WorkDirectory(const WorkDirectory&) = delete;
    WorkDirectory& operator=(const WorkDirectory&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
    FileDescriptor lock_;
    Remover remove_;
};

class ImageCache {
  public:
    static constexpr std::size_t kMaxImages = 8;

    // In $XDG_CACHE_HOME/understudy/images, or ~/.cache/understudy/images.
    [[nodiscard]] static std::filesystem::path default_directory();

    // Makes the directory (0700) where it is missing. Throws understudy::Error.
    ImageCache(std::filesystem::path directory, WorkDirectory::Remover remove);

    // The image that was stored under the key, open; it is the last that will be dropped.
    [[nodiscard]] std::optional<FileDescriptor> find(const std::string& key) const;
    // Moves a complete image, which lies in a work directory, into the cache; the images that were used longest ago are
    // dropped when there are more than kMaxImages, and notes likewise. Throws understudy::Error.
    void store(const std::string& key, const std::filesystem::path& image) const;
    // A short text under a key, for what takes longer to find out than to read; nothing when there is none.
    [[nodiscard]] std::optional<std::string> find_note(const std::string& key) const;
    // Throws understudy::Error.
    void store_note(const std::string& key, std::string_view text) const;
    // Removes those that killed builds left. Throws understudy::Error.
    [[nodiscard]] WorkDirectory make_work_directory() const;

  private:
    [[nodiscard]] std::filesystem::path file_of(const std::string& key, std::string_view ending) const;
    void drop_old(std::string_view ending) const;
    void remove_abandoned() const;

    std::filesystem::path directory_;
    WorkDirectory::Remover remove_;
};

// 32 hexadecimal digits for a text.
[[nodiscard]] std::string key_of(std::string_view text);

}  // namespace understudy::tools
