// System calls that would change the file system. It is read-only, so none succeeds; but a program tells the reasons
// apart: a directory that exists already is what it wanted, a missing one is not.
#include <linux/fcntl.h>

#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/filesystem.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

// The answer to what would be done if it could: EROFS, unless something else forbids it already.
Result read_only(Result otherwise) {
    return otherwise.failed() ? otherwise : failure(EROFS);
}

Result check_exists(int directory, const char* path, unsigned flags) {
    struct stat status {};
    return describe_path(directory, user_string(path), flags, status);
}

Result check_absent(int directory, const char* path) {
    const Result exists = check_exists(directory, path, AT_SYMLINK_NOFOLLOW);
    return !exists.failed()            ? failure(EEXIST)
           : !exists.is_error(ENOENT)  ? exists
           : user_string(path).empty() ? exists
                                       : check_parent(directory, user_string(path));
}

// The descriptor's file is there; whether it may be changed is not asked before that.
Result check_descriptor(int fd) {
    return descriptors().find(fd) == nullptr ? failure(EBADF) : Result(0);
}

}  // namespace

Result sys_make_path(const char* path) {
    return sys_make_path_at(AT_FDCWD, path);
}
Result sys_make_path_at(int directory, const char* path) {
    return read_only(check_absent(directory, path));
}
Result sys_symlink(const char* target, const char* path) {
    return sys_symlinkat(target, AT_FDCWD, path);
}
Result sys_symlinkat(const char* target, int directory, const char* path) {
    const std::string_view to = user_string(target);
    return to.data() == nullptr ? failure(EFAULT) : to.empty() ? failure(ENOENT) : sys_make_path_at(directory, path);
}
Result sys_link(const char* path, const char* new_path) {
    return sys_linkat(AT_FDCWD, path, AT_FDCWD, new_path);
}
Result sys_linkat(int directory, const char* path, int new_directory, const char* new_path) {
    const Result exists = check_exists(directory, path, AT_SYMLINK_NOFOLLOW);
    return exists.failed() ? exists : sys_make_path_at(new_directory, new_path);
}

// Removing and renaming ask for the right to write before they look for the file.
Result sys_remove_path(const char* path) {
    return sys_remove_path_at(AT_FDCWD, path);
}
Result sys_remove_path_at(int directory, const char* path) {
    return read_only(check_parent(directory, user_string(path)));
}
Result sys_rename(const char* path, const char* new_path) {
    return sys_renameat(AT_FDCWD, path, AT_FDCWD, new_path);
}
Result sys_renameat(int directory, const char* path, int new_directory, const char* new_path) {
    const Result parent = check_parent(directory, user_string(path));
    return read_only(parent.failed() ? parent : check_parent(new_directory, user_string(new_path)));
}

Result sys_alter_path(const char* path) {
    return sys_alter_path_at(AT_FDCWD, path);
}
Result sys_alter_path_at(int directory, const char* path) {
    return read_only(check_exists(directory, path, 0));
}
// Without a path it is about the descriptor's file.
Result sys_utimensat(int directory, const char* path) {
    return path == nullptr ? sys_alter_descriptor(directory) : sys_alter_path_at(directory, path);
}
Result sys_alter_descriptor(int fd) {
    return read_only(check_descriptor(fd));
}

// Changing the size needs a descriptor that can be written to, and no file's can.
Result sys_ftruncate(int fd) {
    const Result exists = check_descriptor(fd);
    return exists.failed() ? exists : failure(EINVAL);
}
Result sys_fallocate(int fd) {
    const Result exists = check_descriptor(fd);
    return exists.failed() || !descriptors().find(fd)->writable() ? failure(EBADF) : failure(ESPIPE);
}

}  // namespace understudy::kernel
