// Owns one file descriptor.
#pragma once

#include <unistd.h>

#include <utility>

namespace understudy {

// Closes what it holds when it ends. Not thread-safe.
class FileDescriptor {
  public:
    FileDescriptor() = default;
    // Takes `fd`; a negative one, as a failed system call returns it, is "none".
    explicit FileDescriptor(int fd) : fd_(fd) {}
    FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept {
        reset(std::exchange(other.fd_, -1));
        return *this;
    }
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    ~FileDescriptor() { reset(); }

    // Negative: none.
    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] explicit operator bool() const { return fd_ >= 0; }
    // Gives it up without closing it.
    [[nodiscard]] int release() { return std::exchange(fd_, -1); }
    // Closes it and takes another.
    void reset(int fd = -1) {
        const int old = std::exchange(fd_, fd);
        if (old >= 0 && old != fd) {
            ::close(old);
        }
    }

  private:
    int fd_ = -1;
};

}  // namespace understudy
