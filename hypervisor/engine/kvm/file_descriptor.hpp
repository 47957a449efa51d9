// An owned file descriptor and an owned mapping, for the KVM wrapper.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <utility>

namespace understudy::engine {

class FileDescriptor {
  public:
    explicit FileDescriptor(int fd) : fd_(fd) {}
    ~FileDescriptor() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    FileDescriptor& operator=(FileDescriptor&&) = delete;
    [[nodiscard]] int get() const { return fd_; }

  private:
    int fd_;
};

class SharedMapping {
  public:
    SharedMapping(int fd, std::size_t size)
        : address_(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)), size_(size) {}
    ~SharedMapping() {
        if (valid()) {
            ::munmap(address_, size_);
        }
    }
    SharedMapping(const SharedMapping&) = delete;
    SharedMapping& operator=(const SharedMapping&) = delete;
    [[nodiscard]] bool valid() const { return address_ != MAP_FAILED; }
    [[nodiscard]] void* address() const { return address_; }

  private:
    void* address_;
    std::size_t size_;
};

}  // namespace understudy::engine
