#include "tools/image/pending_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "common/error.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const fs::path& file) {
    return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

// Where a write to the path would go, though nothing may be there yet.
fs::path behind_links(fs::path path) {
    constexpr int kMostLinks = 40;  // as Linux follows
    std::error_code ignored;
    for (int i = 0; i < kMostLinks && fs::is_symlink(path, ignored); ++i) {
        path = folder_of(path) / fs::read_symlink(path, ignored);
    }
    return path;
}

}  // namespace

PendingFile::PendingFile(fs::path target) : target_(std::move(target)) {
    if (std::error_code ignored; fs::is_directory(target_, ignored) || !target_.has_filename()) {
        throw Error(target_.string() + " is a directory: name the file");
    }
    // A rename would take the place of the device or the link itself.
    if (std::error_code ignored; fs::exists(target_, ignored) && !fs::is_regular_file(target_, ignored)) {
        throw Error(target_.string() + " is there and no regular file");
    }
    target_ = behind_links(target_);
    const fs::path folder = folder_of(target_);
    file_.reset(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!file_ && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        std::string name = temporary_name();
        file_.reset(::mkostemp(name.data(), O_CLOEXEC));
        if (file_) {
            name_ = name;
        }
    }
    if (!file_) {
        throw Error::from_errno("cannot write in the directory " + folder.string(), errno);
    }
}

PendingFile::~PendingFile() {
    if (!name_.empty()) {
        ::unlink(name_.c_str());
    }
}

fs::path PendingFile::temporary_name() const {
    return folder_of(target_) / fmt::format(".{}.XXXXXX", target_.filename().string());
}

void PendingFile::copy(const FileDescriptor& from) {
    struct stat status {};
    if (::fstat(from.get(), &status) != 0) {
        throw Error::from_errno("cannot look at what becomes " + target_.string(), errno);
    }
    loff_t offset = 0;
    while (offset < status.st_size) {
        const auto left = static_cast<std::size_t>(status.st_size - offset);
        const ssize_t count = ::copy_file_range(from.get(), &offset, file_.get(), nullptr, left, 0);
        if (count < 0 && (errno == EXDEV || errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS)) {
            return copy_through_memory(from, offset);  // another file system
        }
        if (count < 0 && errno != EINTR) {
            throw Error::from_errno("cannot write " + target_.string(), errno);
        }
        if (count == 0) {
            return;
        }
    }
}

void PendingFile::copy_through_memory(const FileDescriptor& from, off_t offset) {
    std::vector<char> buffer(std::size_t{1} << 20U);
    for (;;) {
        const ssize_t count = ::pread(from.get(), buffer.data(), buffer.size(), offset);
        if (count == 0) {
            return;
        }
        if (count < 0 && errno != EINTR) {
            throw Error::from_errno("cannot read what becomes " + target_.string(), errno);
        }
        if (count > 0) {
            write({buffer.data(), static_cast<std::size_t>(count)});
            offset += count;
        }
    }
}

void PendingFile::write(std::string_view text) {
    while (!text.empty()) {
        const ssize_t count = ::write(file_.get(), text.data(), text.size());
        if (count < 0 && errno != EINTR) {
            throw Error::from_errno("cannot write " + target_.string(), errno);
        }
        text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    }
}

void PendingFile::commit() {
    if (::fchmod(file_.get(), 0644) != 0 || ::fsync(file_.get()) != 0) {
        throw Error::from_errno("cannot write " + target_.string(), errno);
    }
    if (name_.empty()) {
        // A link takes no other file's place, a rename does: for an instant the file has a temporary name.
        std::string name = temporary_name();
        const std::string nameless = fmt::format("/proc/self/fd/{}", file_.get());
        const FileDescriptor reserved(::mkostemp(name.data(), O_CLOEXEC));
        if (!reserved || ::unlink(name.c_str()) != 0 ||
            ::linkat(AT_FDCWD, nameless.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0) {
            throw Error::from_errno("cannot write " + target_.string(), errno);
        }
        name_ = name;
    }
    if (std::rename(name_.c_str(), target_.c_str()) != 0) {
        throw Error::from_errno("cannot write " + target_.string(), errno);
    }
    name_.clear();
    const FileDescriptor folder(::open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder || ::fsync(folder.get()) != 0) {
        throw Error::from_errno("cannot write " + target_.string(), errno);
    }
}

}  // namespace understudy::tools
