#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "arbiter/storage/file_system.hpp"
#include "common/error.hpp"
#include "common/file_descriptor.hpp"

namespace understudy::arbiter {
namespace {

constexpr std::size_t kMaxFile = std::size_t{2} << 30U;

[[noreturn]] void fail(const std::string& what, const std::string& path) {
    const int error = errno;
    if (error == ENOSPC || error == EDQUOT) {
        throw Error::format("cannot {} {}: the disk is full; free space there and start the server again", what, path);
    }
    throw Error::from_errno("cannot " + what + " " + path, error);
}

// Throws with the path in the message.
FileDescriptor open_file(const std::string& path, int flags) {
    FileDescriptor file(::open(path.c_str(), flags | O_CLOEXEC, 0600));
    if (!file) {
        fail("open", path);
    }
    return file;
}

class PosixFile : public File {
  public:
    explicit PosixFile(std::string path) : path_(std::move(path)), file_(open_file(path_, O_RDWR | O_CREAT)) {}

    void write(std::uint64_t offset, std::string_view bytes) override {
        while (!bytes.empty()) {
            const auto n = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
            if (n < 0 && errno == EINTR) {
                continue;
            }
            if (n <= 0) {
                fail("write", path_);
            }
            bytes.remove_prefix(static_cast<std::size_t>(n));
            offset += static_cast<std::uint64_t>(n);
        }
    }
    void sync() override {
        if (::fdatasync(file_.get()) != 0) {
            fail("sync", path_);
        }
    }
    void truncate(std::uint64_t size) override {
        if (::ftruncate(file_.get(), static_cast<off_t>(size)) != 0) {
            fail("truncate", path_);
        }
    }

  private:
    const std::string path_;
    FileDescriptor file_;
};

class PosixDirectory : public Directory {
  public:
    explicit PosixDirectory(std::string path)
        : path_(make(std::move(path))), directory_(open_file(path_, O_RDONLY | O_DIRECTORY)) {
        if (::flock(directory_.get(), LOCK_EX | LOCK_NB) != 0) {
            throw Error::format("{} is in use by another arbiter server; give each its own data directory", path_);
        }
    }

    std::vector<std::string> list() override {
        std::vector<std::string> names;
        std::error_code error;
        for (const auto& entry : std::filesystem::directory_iterator(path_, error)) {
            names.push_back(entry.path().filename().string());
        }
        if (error) {
            throw Error::format("cannot list {}: {}", path_, error.message());
        }
        std::sort(names.begin(), names.end());
        return names;
    }
    std::string read(const std::string& name) override {
        const std::string where = path(name);
        const FileDescriptor file = open_file(where, O_RDONLY);
        struct stat info {};
        if (::fstat(file.get(), &info) != 0) {
            fail("read", where);
        }
        if (info.st_size < 0 || static_cast<std::size_t>(info.st_size) > kMaxFile) {
            throw Error::format("{} is larger than anything this server writes", where);
        }
        std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
        std::size_t done = 0;
        while (done < bytes.size()) {
            const auto n = ::pread(file.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
            if (n < 0 && errno == EINTR) {
                continue;
            }
            if (n < 0) {
                fail("read", where);
            }
            if (n == 0) {
                bytes.resize(done);
                break;
            }
            done += static_cast<std::size_t>(n);
        }
        return bytes;
    }
    std::unique_ptr<File> open(const std::string& name) override { return std::make_unique<PosixFile>(path(name)); }
    void rename(const std::string& from, const std::string& to) override {
        if (::rename(path(from).c_str(), path(to).c_str()) != 0) {
            fail("rename", path(from));
        }
    }
    void remove(const std::string& name) override {
        if (::unlink(path(name).c_str()) != 0 && errno != ENOENT) {
            fail("remove", path(name));
        }
    }
    void sync() override {
        if (::fsync(directory_.get()) != 0) {
            fail("sync", path_);
        }
    }
    std::string path(const std::string& name) const override { return path_ + "/" + name; }

  private:
    static std::string make(std::string path) {
        std::error_code error;
        std::filesystem::create_directories(path, error);
        if (error) {
            throw Error::format("cannot create {}: {}", path, error.message());
        }
        return path;
    }

    std::string path_;
    FileDescriptor directory_;
};

}  // namespace

std::unique_ptr<Directory> open_directory(const std::string& path) {
    return std::make_unique<PosixDirectory>(path);
}

}  // namespace understudy::arbiter
