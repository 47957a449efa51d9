#include "tools/image/root_tree.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <system_error>
#include <vector>

#include "common/error.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::array kTimes = {timespec{kImageTime, 0}, timespec{kImageTime, 0}};

[[noreturn]] void fail(const std::string& what, const std::string& path) {
    throw Error::from_errno("cannot " + what + " " + path + " in the image", errno);
}

struct SplitPath {
    std::string parent;
    std::string name;
};

SplitPath split(const std::string& path) {
    const auto slash = path.rfind('/');
    return {path.substr(0, slash), path.substr(slash + 1)};
}

FileDescriptor open_in_root(const FileDescriptor& root, const std::string& path) {
    open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const std::string inside = "." + (path.empty() ? std::string() : path);
    // By number: glibc has no function for it.
    return FileDescriptor(static_cast<int>(::syscall(SYS_openat2, root.get(), inside.c_str(), &how, sizeof how)));
}

// A directory keeps its time when it changes.
class KeptTime {
  public:
    explicit KeptTime(const FileDescriptor& directory) : directory_(directory) {
        struct stat status {};
        ::fstat(directory.get(), &status);
        times_ = {status.st_atim, status.st_mtim};
    }
    ~KeptTime() { ::futimens(directory_.get(), times_.data()); }
    KeptTime(const KeptTime&) = delete;
    KeptTime& operator=(const KeptTime&) = delete;

  private:
    const FileDescriptor& directory_;
    std::array<timespec, 2> times_{};
};

// A path of this process for what an open directory holds, whatever the path was that led there.
fs::path here(const FileDescriptor& directory) {
    return "/proc/self/fd/" + std::to_string(directory.get());
}

void finish_file(const FileDescriptor& file, mode_t mode, const std::string& path) {
    if (::fchown(file.get(), 0, 0) != 0 && errno != EPERM) {
        fail("own", path);
    }
    if (::fchmod(file.get(), mode) != 0 || ::futimens(file.get(), kTimes.data()) != 0) {
        fail("set the mode of", path);
    }
}

void make_in(const FileDescriptor& parent, const std::string& name, mode_t mode, const std::string& path) {
    const KeptTime kept(parent);
    if (::mkdirat(parent.get(), name.c_str(), 0700) != 0) {
        fail("make", path);
    }
    const FileDescriptor made(::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!made) {
        fail("open", path);
    }
    finish_file(made, mode, path);
}

void remove_in(const FileDescriptor& parent, const std::string& name, const std::string& path) {
    if (::unlinkat(parent.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
        fail("replace", path);
    }
}

FileDescriptor create_in(const FileDescriptor& parent, const std::string& name, const std::string& path) {
    remove_in(parent, name, path);
    FileDescriptor file(
        ::openat(parent.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) {
        fail("make", path);
    }
    return file;
}

void write_all(const FileDescriptor& file, std::string_view bytes, const std::string& path) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(file.get(), bytes.data(), bytes.size());
        if (count < 0 && errno != EINTR) {
            fail("write", path);
        }
        bytes.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    }
}

void copy_all(const FileDescriptor& from, const FileDescriptor& to, const std::string& path) {
    std::vector<char> buffer(std::size_t{1} << 20U);
    for (;;) {
        const ssize_t count = ::read(from.get(), buffer.data(), buffer.size());
        if (count == 0) {
            return;
        }
        if (count < 0 && errno != EINTR) {
            throw Error::from_errno("cannot read what becomes " + path, errno);
        }
        write_all(to, {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0))}, path);
    }
}

}  // namespace

RootTree::RootTree(const fs::path& root) : root_(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (!root_) {
        throw Error::from_errno("cannot open " + root.string(), errno);
    }
}

FileDescriptor RootTree::find_directory(const std::string& path) const {
    FileDescriptor found = open_in_root(root_, path);
    if (!found && errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
        fail("open", path);  // ENOSYS, too: a kernel before 5.6
    }
    return found;
}

FileDescriptor RootTree::directory(const std::string& path) {
    if (FileDescriptor found = find_directory(path)) {
        return found;
    }
    const auto [parent, name] = split(path);
    make_in(directory(parent), name, 0755, path);
    return open_in_root(root_, path);
}

bool RootTree::has(const std::string& path) const {
    const auto [parent, name] = split(path);
    const FileDescriptor directory = find_directory(parent);
    struct stat status {};
    return directory && ::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
}

bool RootTree::empty() const {
    return fs::is_empty(here(root_));
}

void RootTree::make_directory(const std::string& path, mode_t mode) {
    if (find_directory(path)) {
        return;
    }
    const auto [parent, name] = split(path);
    make_in(directory(parent), name, mode, path);
}

void RootTree::make_mount_point(const std::string& name, mode_t mode) {
    const KeptTime kept(root_);
    std::error_code error;
    fs::remove_all(here(root_) / name.substr(1), error);  // follows no link
    if (error) {
        throw Error::format("cannot empty {} in the image: {}", name, error.message());
    }
    make_in(root_, name.substr(1), mode, name);
}

void RootTree::write_file(const std::string& path, std::string_view content, mode_t mode) {
    const auto [parent, name] = split(path);
    const FileDescriptor in = directory(parent);
    const KeptTime kept(in);
    const FileDescriptor file = create_in(in, name, path);
    write_all(file, content, path);
    finish_file(file, mode, path);
}

void RootTree::make_link(const std::string& path, const std::string& target) {
    const auto [parent, name] = split(path);
    const FileDescriptor in = directory(parent);
    const KeptTime kept(in);
    remove_in(in, name, path);
    if (::symlinkat(target.c_str(), in.get(), name.c_str()) != 0) {
        fail("make", path);
    }
    ::utimensat(in.get(), name.c_str(), kTimes.data(), AT_SYMLINK_NOFOLLOW);
}

void RootTree::remove(const std::string& path) {
    const auto [parent, name] = split(path);
    if (const FileDescriptor in = find_directory(parent)) {
        const KeptTime kept(in);
        remove_in(in, name, path);
    }
}

void RootTree::remove_files(const std::string& directory, std::string_view prefix) {
    const FileDescriptor in = find_directory(directory);
    if (!in) {
        return;
    }
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(here(in))) {
        if (const std::string name = entry.path().filename(); name.starts_with(prefix)) {
            names.push_back(name);
        }
    }
    const KeptTime kept(in);
    for (const std::string& name : names) {
        remove_in(in, name, name);
    }
}

void RootTree::add_file(const fs::path& host, const std::string& path, mode_t mode) {
    const FileDescriptor from(::open(host.c_str(), O_RDONLY | O_CLOEXEC));
    if (!from) {
        throw Error::from_errno("cannot open " + host.string(), errno);
    }
    const auto [parent, name] = split(path);
    const FileDescriptor in = directory(parent);
    const KeptTime kept(in);
    const FileDescriptor file = create_in(in, name, path);
    copy_all(from, file, path);
    finish_file(file, mode, path);
}

void RootTree::add(const fs::path& host, const std::string& path) {
    // The one that was named may be a link; those below it stay links.
    const auto add_one = [this](const fs::path& from, const fs::file_status& status, const std::string& to) {
        const auto mode = static_cast<mode_t>(status.permissions());
        switch (status.type()) {
            case fs::file_type::regular:
                return add_file(from, to, mode);
            case fs::file_type::directory:
                return make_directory(to, mode);
            case fs::file_type::symlink:
                return make_link(to, fs::read_symlink(from));
            default:
                throw Error(from.string() + " is neither file nor directory nor link and cannot be added to an image");
        }
    };
    const auto status = fs::status(host);
    add_one(host, status, path);
    if (fs::is_directory(status)) {
        for (const auto& entry : fs::recursive_directory_iterator(host)) {
            add_one(entry.path(), entry.symlink_status(), path + '/' + entry.path().lexically_relative(host).string());
        }
    }
}

}  // namespace understudy::tools
