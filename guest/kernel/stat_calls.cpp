// System calls that describe files and the file system.
#include <asm/statfs.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

#include "guest/kernel/control.hpp"
#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/filesystem.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

// Hands a description to the program if making it succeeded.
template <typename Describe>
Result answer_stat(struct stat* user_status, Describe describe) {
    struct stat status {};
    const Result result = describe(status);
    if (result.failed()) {
        return result;
    }
    if (!accessible(user_status)) {
        return failure(EFAULT);
    }
    *user_status = status;
    return 0;
}

Result answer_statfs(struct statfs* user_status) {
    if (!accessible(user_status)) {
        return failure(EFAULT);
    }
    constexpr std::int64_t kReadOnlyArchive = 0x73717368;  // as squashfs, the file system most like it
    constexpr std::int64_t kFlags = 1 | 0x20;              // ST_RDONLY, ST_VALID
    struct statfs answer {};
    answer.f_type = kReadOnlyArchive;
    answer.f_bsize = answer.f_frsize = 4096;
    answer.f_blocks = static_cast<std::int64_t>((boot().root_archive.size + 4095) / 4096);
    answer.f_namelen = 255;
    answer.f_flags = kFlags;
    *user_status = answer;
    return 0;
}

}  // namespace

Result sys_newfstatat(int directory, const char* path, struct stat* status, unsigned flags) {
    return answer_stat(status,
                       [&](struct stat& out) { return describe_path(directory, user_string(path), flags, out); });
}
Result sys_stat(const char* path, struct stat* status) {
    return sys_newfstatat(AT_FDCWD, path, status, 0);
}
Result sys_lstat(const char* path, struct stat* status) {
    return sys_newfstatat(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}
Result sys_fstat(int fd, struct stat* status) {
    return answer_stat(status, [&](struct stat& out) { return describe_descriptor(fd, out); });
}

Result sys_statx(int directory, const char* path, unsigned flags, unsigned /*mask*/, struct statx* user_status) {
    struct stat status {};
    const Result result = describe_path(directory, user_string(path), flags, status);
    if (result.failed()) {
        return result;
    }
    if (!accessible(user_status)) {
        return failure(EFAULT);
    }
    struct statx answer {};
    answer.stx_mask = STATX_BASIC_STATS;
    answer.stx_blksize = static_cast<std::uint32_t>(status.st_blksize);
    answer.stx_nlink = static_cast<std::uint32_t>(status.st_nlink);
    answer.stx_mode = static_cast<std::uint16_t>(status.st_mode);
    answer.stx_uid = status.st_uid;
    answer.stx_gid = status.st_gid;
    answer.stx_ino = status.st_ino;
    answer.stx_size = static_cast<std::uint64_t>(status.st_size);
    answer.stx_blocks = static_cast<std::uint64_t>(status.st_blocks);
    answer.stx_mtime.tv_sec = static_cast<std::int64_t>(status.st_mtime);
    answer.stx_atime = answer.stx_ctime = answer.stx_mtime;
    answer.stx_rdev_major = static_cast<std::uint32_t>(status.st_rdev >> 8);
    answer.stx_rdev_minor = static_cast<std::uint32_t>(status.st_rdev & 0xff);
    answer.stx_dev_minor = static_cast<std::uint32_t>(status.st_dev);
    *user_status = answer;
    return 0;
}

Result sys_faccessat(int directory, const char* user_path, unsigned mode) {
    constexpr unsigned kExecute = 1;
    constexpr unsigned kWrite = 2;
    constexpr unsigned kKnown = 7;
    if ((mode & ~kKnown) != 0) {
        return failure(EINVAL);
    }
    struct stat status {};
    const Result result = describe_path(directory, user_string(user_path), 0, status);
    if (result.failed()) {
        return result;
    }
    const bool device =
        (status.st_mode & kFileTypeMask) == kCharacterDevice || (status.st_mode & kFileTypeMask) == kPipe;
    if ((mode & kWrite) != 0 && !device) {
        return failure(EROFS);
    }
    return (mode & kExecute) != 0 && (status.st_mode & 0111) == 0 ? failure(EACCES) : Result(0);
}
Result sys_access(const char* path, unsigned mode) {
    return sys_faccessat(AT_FDCWD, path, mode);
}

Result sys_statfs(const char* path, struct statfs* user_status) {
    struct stat status {};
    const Result found = describe_path(AT_FDCWD, user_string(path), 0, status);
    return found.failed() ? found : answer_statfs(user_status);
}
Result sys_fstatfs(int fd, struct statfs* user_status) {
    return descriptors().find(fd) == nullptr ? failure(EBADF) : answer_statfs(user_status);
}

}  // namespace understudy::kernel
