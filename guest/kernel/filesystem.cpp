#include "guest/kernel/filesystem.hpp"

#include <linux/fcntl.h>

#include "guest/kernel/archive_file.hpp"
#include "guest/kernel/control.hpp"
#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/heap.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/panic.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

constinit Archive root;
const Archive::Node* current_directory = nullptr;

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

}  // namespace

void initialize_filesystem() {
    root.open({reinterpret_cast<const std::uint8_t*>(boot().root_archive.base), boot().root_archive.size},
              [](std::size_t size) { return heap().allocate(size); });
    current_directory = &root.root();
    for (const unsigned flags : {unsigned{O_RDONLY}, unsigned{O_WRONLY}, unsigned{O_WRONLY}}) {
        if (descriptors().add(open_device(Device::console, flags), false).failed()) {
            panic("no memory for the console");
        }
    }
}

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

// The directory that a file is, or null.
const Archive::Node* directory_of(const File& file) {
    struct stat status {};
    file.describe(status);
    // Only archive files are directories.
    return (status.st_mode & kFileTypeMask) == kDirectory ? &static_cast<const ArchiveFile&>(file).node() : nullptr;
}

const Archive::Node& working_directory() {
    return *current_directory;
}

void set_working_directory(const Archive::Node& directory) {
    current_directory = &directory;
}

Place resolve(int directory, std::string_view path, bool follow) {
    if (const Result checked = check_path(path); checked.failed()) {
        return {checked};
    }
    const Archive::Node* start = current_directory;
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
           : parent.node == nullptr                        ? parent.outcome
           : parent.node->type != Archive::Type::directory ? failure(ENOTDIR)
                                                           : Result(0);
}

}  // namespace understudy::kernel
