// System calls that open files, and that walk the directories.
#include <linux/fcntl.h>

#include <cstring>
#include <utility>

#include "guest/kernel/archive_file.hpp"
#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/devices.hpp"
#include "guest/kernel/filesystem.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

constexpr std::string_view kOwnExecutable = "/proc/self/exe";

// The program's own path, absolute: its first argument, which the boot image has without a directory.
std::string_view program_path() {
    static char path[256];
    const std::string_view name = reinterpret_cast<const char*>(boot().strings.base);
    const std::size_t count = std::min(name.size(), sizeof path - 1);
    path[0] = '/';
    std::memcpy(path + 1, name.data(), count);
    return !name.empty() && name.front() == '/' ? name : std::string_view(path, count + 1);
}

}  // namespace

Result sys_openat(int directory, const char* user_path, unsigned flags, unsigned /*mode*/) {
    const std::string_view path = user_string(user_path);
    const bool writing = (flags & O_ACCMODE) != O_RDONLY;
    const bool close_on_exec = (flags & O_CLOEXEC) != 0;
    constexpr unsigned kKept = O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECTORY | O_NOFOLLOW | O_LARGEFILE | O_PATH;
    if (const auto device = device_at(path)) {
        if ((flags & O_DIRECTORY) != 0) {
            return failure(ENOTDIR);
        }
        return descriptors().add(open_device(*device, flags & kKept), close_on_exec);
    }
    const Place place = resolve(directory, path, (flags & O_NOFOLLOW) == 0);
    if (place.node == nullptr) {
        if (!place.outcome.is_error(ENOENT) || (flags & O_CREAT) == 0) {
            return place.outcome;
        }
        const Result parent = check_parent(directory, path);
        return parent.failed() ? parent : failure(EROFS);
    }
    if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
        return failure(EEXIST);
    }
    if (place.node->type == Archive::Type::link) {
        return failure(ELOOP);
    }
    if (place.node->type == Archive::Type::directory && (writing || (flags & O_CREAT) != 0)) {
        return failure(EISDIR);
    }
    if (place.node->type != Archive::Type::directory && (flags & O_DIRECTORY) != 0) {
        return failure(ENOTDIR);
    }
    if (writing || (flags & O_TRUNC) != 0) {
        return failure(EROFS);
    }
    return descriptors().add(FileReference<>(make_file<ArchiveFile>(*place.node, flags & kKept).get()), close_on_exec);
}

Result sys_open(const char* path, unsigned flags, unsigned mode) {
    return sys_openat(AT_FDCWD, path, flags, mode);
}
Result sys_creat(const char* path, unsigned mode) {
    return sys_openat(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

Result sys_readlinkat(int directory, const char* user_path, char* buffer, std::size_t size) {
    if (static_cast<std::int64_t>(size) <= 0) {
        return failure(EINVAL);
    }
    const std::string_view path = user_string(user_path);
    std::string_view target;
    if (path == kOwnExecutable) {
        target = program_path();
    } else {
        const Place place = resolve(directory, path, false);
        if (place.node == nullptr) {
            return place.outcome;
        }
        if (place.node->type != Archive::Type::link) {
            return failure(EINVAL);
        }
        target = {reinterpret_cast<const char*>(place.node->content.data()), place.node->content.size()};
    }
    const std::size_t count = std::min(size, target.size());
    if (!accessible(buffer, count)) {
        return failure(EFAULT);
    }
    std::memcpy(buffer, target.data(), count);
    return static_cast<std::int64_t>(count);
}
Result sys_readlink(const char* path, char* buffer, std::size_t size) {
    return sys_readlinkat(AT_FDCWD, path, buffer, size);
}

Result sys_getdents64(int fd, void* buffer, std::size_t size) {
    File* file = descriptors().find(fd);
    if (file == nullptr) {
        return failure(EBADF);
    }
    if (!accessible(buffer, size)) {
        return failure(EFAULT);
    }
    const iovec piece{buffer, size};
    Buffers to({&piece, 1});
    return file->list(to);
}

Result sys_getcwd(char* buffer, std::size_t size) {
    if (!accessible(buffer, size)) {
        return failure(EFAULT);
    }
    const std::size_t length = Archive::path_of(working_directory(), {buffer, size == 0 ? 0 : size - 1});
    if (length == 0) {
        return failure(ERANGE);
    }
    buffer[length] = '\0';
    return static_cast<std::int64_t>(length + 1);
}

Result sys_chdir(const char* path) {
    const Place place = resolve(AT_FDCWD, user_string(path), true);
    if (place.node == nullptr) {
        return place.outcome;
    }
    if (place.node->type != Archive::Type::directory) {
        return failure(ENOTDIR);
    }
    set_working_directory(*place.node);
    return 0;
}

Result sys_fchdir(int fd) {
    File* file = descriptors().find(fd);
    if (file == nullptr) {
        return failure(EBADF);
    }
    const Archive::Node* node = directory_of(*file);
    if (node == nullptr) {
        return failure(ENOTDIR);
    }
    set_working_directory(*node);
    return 0;
}

Result sys_umask(unsigned mask) {
    static unsigned current = 022;  // of no consequence: nothing can be made
    return std::exchange(current, mask & 0777);
}

}  // namespace understudy::kernel
