// System calls on paths, and the files of the root archive.
#include "guest/kernel/filesystem.hpp"

#include <asm/ioctls.h>
#include <asm/statfs.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>

#include <cstring>
#include <optional>
#include <utility>

#include "guest/kernel/archive.hpp"
#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/devices.hpp"
#include "guest/kernel/heap.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/panic.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

constinit Archive root;
const Archive::Node* working_directory = nullptr;

std::uint32_t type_bits(const Archive::Node& node) {
    switch (node.type) {
        case Archive::Type::file:
            return kRegularFile;
        case Archive::Type::directory:
            return kDirectory;
        case Archive::Type::link:
            return kSymbolicLink;
    }
    return 0;
}

void describe_node(const Archive::Node& node, struct stat& status) {
    status.st_dev = 1;
    status.st_ino = node.number;
    status.st_nlink = node.type == Archive::Type::directory ? 2 : 1;
    status.st_mode = type_bits(node) | node.mode;
    status.st_uid = node.user;
    status.st_gid = node.group;
    status.st_size = static_cast<std::int64_t>(node.content.size());
    status.st_blksize = 4096;
    status.st_blocks = static_cast<std::int64_t>((node.content.size() + 511) / 512);
    status.st_mtime = status.st_ctime = status.st_atime = static_cast<std::uint64_t>(node.modified);
}

class ArchiveFile final : public File {
  public:
    ArchiveFile(const Archive::Node& node, std::uint32_t status_flags) : File(status_flags), node_(node) {}

    [[nodiscard]] const Archive::Node& node() const { return node_; }

    Result read(Buffers& to) override {
        const Result count = read_at(to, offset_);
        offset_ += count.failed() ? 0 : static_cast<std::uint64_t>(count.raw());
        return count;
    }

    Result read_at(Buffers& to, std::uint64_t offset) override {
        if (node_.type == Archive::Type::directory) {
            return failure(EISDIR);
        }
        if (offset >= node_.content.size()) {
            return 0;
        }
        const auto rest = node_.content.subspan(offset);
        return static_cast<std::int64_t>(to.put(rest.data(), rest.size()));
    }

    Result seek(std::int64_t offset, int whence) override {
        const auto size = static_cast<std::int64_t>(node_.content.size());
        std::int64_t base = 0;
        switch (whence) {
            case SEEK_SET:
                break;
            case SEEK_CUR:
                base = static_cast<std::int64_t>(offset_);
                break;
            case SEEK_END:
                base = size;
                break;
            case SEEK_DATA:
            case SEEK_HOLE:
                if (offset < 0 || offset >= size) {
                    return failure(ENXIO);
                }
                base = whence == SEEK_HOLE ? size - offset : 0;
                break;
            default:
                return failure(EINVAL);
        }
        std::int64_t target = 0;
        if (__builtin_add_overflow(base, offset, &target) || target < 0) {
            return failure(EINVAL);
        }
        offset_ = static_cast<std::uint64_t>(target);
        return target;
    }

    Result control(unsigned request, void* argument) override {
        if (request != FIONREAD || node_.type != Archive::Type::file) {
            return failure(ENOTTY);
        }
        if (!accessible(static_cast<int*>(argument))) {
            return failure(EFAULT);
        }
        *static_cast<int*>(argument) =
            static_cast<int>(node_.content.size() - std::min<std::uint64_t>(offset_, node_.content.size()));
        return 0;
    }

    void describe(struct stat& status) const override { describe_node(node_, status); }

    // struct linux_dirent64 for each entry: inode, offset of the next, record length, type, name. The offset counts
    // entries, "." and ".." first.
    Result list(Buffers& to) override {
        if (node_.type != Archive::Type::directory) {
            return failure(ENOTDIR);
        }
        const auto room = to.remaining();
        for (std::uint64_t index = offset_;; ++index) {
            const auto entry = entry_at(index);
            if (!entry) {
                break;
            }
            const std::size_t length = (kNameOffset + entry->name.size() + 1 + 7) & ~std::size_t{7};
            if (length > to.remaining()) {
                return to.remaining() == room ? failure(EINVAL)
                                              : Result(static_cast<std::int64_t>(room - to.remaining()));
            }
            std::uint8_t record[kNameOffset + 264] = {};
            const std::uint64_t number = entry->node->number;
            const std::uint64_t next = index + 1;
            const auto record_length = static_cast<std::uint16_t>(length);
            std::memcpy(record, &number, 8);
            std::memcpy(record + 8, &next, 8);
            std::memcpy(record + 16, &record_length, 2);
            record[18] = static_cast<std::uint8_t>(type_bits(*entry->node) >> 12);
            std::memcpy(record + kNameOffset, entry->name.data(), entry->name.size());
            to.put(record, length);
            offset_ = next;
        }
        return static_cast<std::int64_t>(room - to.remaining());
    }

  private:
    static constexpr std::size_t kNameOffset = 19;
    struct Entry {
        std::string_view name;
        const Archive::Node* node;
    };
    [[nodiscard]] std::optional<Entry> entry_at(std::uint64_t index) const {
        if (index < 2) {
            return index == 0 ? Entry{".", &node_} : Entry{"..", node_.parent};
        }
        const Archive::Node* node = node_.first_child;
        for (std::uint64_t at = 2; node != nullptr && at < index; ++at) {
            node = node->next_sibling;
        }
        // A name that no file system allows cannot be opened either.
        while (node != nullptr && node->name.size() > 255) {
            node = node->next_sibling;
        }
        return node == nullptr ? std::nullopt : std::optional(Entry{node->name, node});
    }

    const Archive::Node& node_;
    std::uint64_t offset_ = 0;
};

std::optional<Device> device_at(std::string_view path) {
    if (path == "/dev/null") {
        return Device::null;
    }
    if (path == "/dev/zero") {
        return Device::zero;
    }
    if (path == "/dev/urandom" || path == "/dev/random") {
        return Device::random;
    }
    if (path == "/dev/console" || path == "/dev/tty" || path == "/dev/stdin" || path == "/dev/stdout" ||
        path == "/dev/stderr") {
        return path == "/dev/tty" ? std::nullopt : std::optional(Device::console);
    }
    return std::nullopt;
}

int error_of(Archive::Lookup outcome) {
    switch (outcome) {
        case Archive::Lookup::found:
            return 0;
        case Archive::Lookup::missing:
            return ENOENT;
        case Archive::Lookup::not_directory:
            return ENOTDIR;
        case Archive::Lookup::loop:
            return ELOOP;
        case Archive::Lookup::name_too_long:
            return ENAMETOOLONG;
    }
    return ENOENT;
}

// Checks a path of the program; an empty one is the caller's business.
Result check_path(std::string_view path) {
    if (path.data() == nullptr) {
        return failure(EFAULT);
    }
    return path.size() >= kPathLimit ? failure(ENAMETOOLONG) : Result(0);
}

// The directory that a file is, or null.
const Archive::Node* directory_of(const File& file) {
    struct stat status {};
    file.describe(status);
    // Only archive files are directories.
    return (status.st_mode & kFileTypeMask) == kDirectory ? &static_cast<const ArchiveFile&>(file).node() : nullptr;
}

// Nowhere (a null node) exactly when the outcome is a failure.
struct Place {
    Result outcome;
    const Archive::Node* node = nullptr;
};

// Where `path` leads from descriptor `directory`.
Place resolve(int directory, std::string_view path, bool follow) {
    if (const Result checked = check_path(path); checked.failed()) {
        return {checked};
    }
    const Archive::Node* start = working_directory;
    if (directory != AT_FDCWD && (path.empty() || path.front() != '/')) {
        const File* file = descriptors().find(directory);
        if (file == nullptr) {
            return {failure(EBADF)};
        }
        start = directory_of(*file);
        if (start == nullptr) {
            return {failure(ENOTDIR)};
        }
    }
    const Archive::Answer answer = root.find(*start, path, follow);
    return {answer.node == nullptr ? failure(error_of(answer.outcome)) : Result(0), answer.node};
}

Result describe_descriptor(int fd, struct stat& status) {
    const File* file = descriptors().find(fd);
    if (file == nullptr) {
        return failure(EBADF);
    }
    file->describe(status);
    return 0;
}

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

void initialize_filesystem() {
    root.open({reinterpret_cast<const std::uint8_t*>(boot().root_archive.base), boot().root_archive.size},
              [](std::size_t size) { return heap().allocate(size); });
    working_directory = &root.root();
    for (const unsigned flags : {unsigned{O_RDONLY}, unsigned{O_WRONLY}, unsigned{O_WRONLY}}) {
        if (descriptors().add(open_device(Device::console, flags), false).failed()) {
            panic("no memory for the console");
        }
    }
}

Result describe_path(int directory, std::string_view path, unsigned flags, struct stat& status) {
    if ((flags & AT_EMPTY_PATH) != 0 && path.data() != nullptr && path.empty() && directory != AT_FDCWD) {
        return describe_descriptor(directory, status);
    }
    if (const auto device = device_at(path)) {
        const FileReference<> file = open_device(*device, O_RDWR);
        if (!file) {
            return failure(ENOMEM);
        }
        file->describe(status);
        return 0;
    }
    const Place place = resolve(directory, path, (flags & AT_SYMLINK_NOFOLLOW) == 0);
    if (place.node != nullptr) {
        describe_node(*place.node, status);
    }
    return place.outcome;
}

Result check_parent(int directory, std::string_view path) {
    if (const Result checked = check_path(path); checked.failed()) {
        return checked;
    }
    while (path.size() > 1 && path.back() == '/') {
        path.remove_suffix(1);
    }
    const std::size_t slash = path.rfind('/');
    const bool here = slash == std::string_view::npos;
    const Place parent = resolve(directory, here ? "." : path.substr(0, slash + 1), true);
    return path.empty()                                    ? failure(ENOENT)
           : parent.outcome.failed()                       ? parent.outcome
           : parent.node->type != Archive::Type::directory ? failure(ENOTDIR)
                                                           : Result(0);
}

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
    const std::size_t length = Archive::path_of(*working_directory, {buffer, size == 0 ? 0 : size - 1});
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
    working_directory = place.node;
    return 0;
}

namespace {

Result answer_statfs(struct statfs* user_status) {
    if (!accessible(user_status)) {
        return failure(EFAULT);
    }
    constexpr std::int64_t kReadOnlyArchive = 0x73717368;  // as squashfs, the file system most like it
    constexpr std::int64_t kFlags = 1 | 0x20;              // ST_RDONLY, ST_VALID
    struct statfs answer {};
    answer.f_type = kReadOnlyArchive;
    answer.f_bsize = answer.f_frsize = 4096;
    answer.f_blocks = (boot().root_archive.size + 4095) / 4096;
    answer.f_namelen = 255;
    answer.f_flags = kFlags;
    *user_status = answer;
    return 0;
}

}  // namespace

Result sys_statfs(const char* path, struct statfs* user_status) {
    struct stat status {};
    const Result found = describe_path(AT_FDCWD, user_string(path), 0, status);
    return found.failed() ? found : answer_statfs(user_status);
}
Result sys_fstatfs(int fd, struct statfs* user_status) {
    return descriptors().find(fd) == nullptr ? failure(EBADF) : answer_statfs(user_status);
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
    working_directory = node;
    return 0;
}

Result sys_umask(unsigned mask) {
    static unsigned current = 022;  // of no consequence: nothing can be made
    return std::exchange(current, mask & 0777);
}

}  // namespace understudy::kernel
