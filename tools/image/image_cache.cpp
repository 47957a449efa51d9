#include "tools/image/image_cache.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "common/digest.hpp"
#include "common/error.hpp"
#include "tools/image/pending_file.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWorkPrefix = "work-";
constexpr std::string_view kImage = ".img";
constexpr std::string_view kNote = ".txt";

// None: somebody has it.
FileDescriptor lock(const fs::path& path, int operation) {
    FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file && ::flock(file.get(), operation) != 0) {
        file.reset();
    }
    return file;
}

// Making a work directory and looking for abandoned ones exclude each other, between processes.
FileDescriptor lock_all(const fs::path& directory) {
    FileDescriptor file = lock(directory, LOCK_EX);
    if (!file) {
        throw Error::from_errno("cannot lock " + directory.string(), errno);
    }
    return file;
}

}  // namespace

WorkDirectory::WorkDirectory(fs::path path, FileDescriptor lock, Remover remove)
    : path_(std::move(path)), lock_(std::move(lock)), remove_(std::move(remove)) {}

WorkDirectory::~WorkDirectory() {
    if (lock_) {
        remove_(path_);
    }
}

fs::path ImageCache::default_directory() {
    const auto set = [](const char* name) {
        const char* const value = std::getenv(name);
        return fs::path(value == nullptr ? "" : value);
    };
    const fs::path cache = set("XDG_CACHE_HOME");
    const fs::path home = set("HOME");
    if (!cache.is_absolute() && !home.is_absolute()) {
        throw Error("there is no place for images: set HOME or XDG_CACHE_HOME");
    }
    return (cache.is_absolute() ? cache : home / ".cache") / "understudy/images";
}

ImageCache::ImageCache(fs::path directory, WorkDirectory::Remover remove)
    : directory_(std::move(directory)), remove_(std::move(remove)) {
    std::error_code error;
    fs::create_directories(directory_, error);
    if (error || ::chmod(directory_.c_str(), 0700) != 0) {
        throw Error::format("cannot make the directory {} ({}): set XDG_CACHE_HOME", directory_.string(),
                            error ? error.message() : std::generic_category().message(errno));
    }
}

fs::path ImageCache::file_of(const std::string& key, std::string_view ending) const {
    return directory_ / fmt::format("{}{}", key, ending);
}

std::optional<FileDescriptor> ImageCache::find(const std::string& key) const {
    FileDescriptor file(::open(file_of(key, kImage).c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) {
        return std::nullopt;
    }
    ::futimens(file.get(), nullptr);  // now
    return file;
}

void ImageCache::store(const std::string& key, const fs::path& image) const {
    const FileDescriptor file(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file || ::fsync(file.get()) != 0 || ::rename(image.c_str(), file_of(key, kImage).c_str()) != 0) {
        throw Error::from_errno("cannot store an image in " + directory_.string(), errno);
    }
    drop_old(kImage);
}

std::optional<std::string> ImageCache::find_note(const std::string& key) const {
    std::ifstream file(file_of(key, kNote), std::ios::binary);
    if (!file) {
        return std::nullopt;
    }
    return std::string{std::istreambuf_iterator<char>(file), {}};
}

void ImageCache::store_note(const std::string& key, std::string_view text) const {
    PendingFile file(file_of(key, kNote));
    file.write(text);
    file.commit();
    drop_old(kNote);
}

void ImageCache::drop_old(std::string_view ending) const {
    using Entry = std::pair<fs::file_time_type, fs::path>;
    std::vector<Entry> files;
    for (const auto& entry : fs::directory_iterator(directory_)) {
        std::error_code gone;
        if (const auto time = entry.last_write_time(gone); entry.path().extension() == ending && !gone) {
            files.emplace_back(time, entry.path());
        }
    }
    std::ranges::sort(files, std::ranges::greater());
    for (const Entry& file : std::span(files).subspan(std::min(kMaxImages, files.size()))) {
        std::error_code ignored;
        fs::remove(file.second, ignored);
    }
}

void ImageCache::remove_abandoned() const {
    std::vector<fs::path> abandoned;
    for (const auto& entry : fs::directory_iterator(directory_)) {
        if (entry.path().filename().string().starts_with(kWorkPrefix) && lock(entry.path(), LOCK_EX | LOCK_NB)) {
            abandoned.push_back(entry.path());
        }
    }
    std::ranges::for_each(abandoned, remove_);
}

WorkDirectory ImageCache::make_work_directory() const {
    const FileDescriptor all = lock_all(directory_);
    remove_abandoned();
    std::string name = directory_ / fmt::format("{}XXXXXX", kWorkPrefix);
    if (::mkdtemp(name.data()) == nullptr) {
        throw Error::from_errno("cannot make a directory in " + directory_.string(), errno);
    }
    FileDescriptor own = lock(name, LOCK_EX | LOCK_NB);
    if (!own) {
        throw Error::from_errno("cannot lock " + name, errno);
    }
    return {name, std::move(own), remove_};
}

std::string key_of(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return fmt::format("{:016x}{:016x}", digest(bytes, 0), digest(bytes, 1));
}

}  // namespace understudy::tools
