// An open file description: what a descriptor refers to. Reading and writing never block here; they answer EAGAIN, and
// the system calls wait and ask again (see blocking.hpp).
#pragma once

#include <asm/stat.h>

#include <cstdint>
#include <utility>

#include "guest/kernel/buffers.hpp"
#include "guest/kernel/list.hpp"
#include "guest/kernel/result.hpp"

namespace understudy::kernel {

class Epoll;
class Socket;
class TimerFile;

// Someone who wants to know that a file's readiness may have changed: an epoll instance's interest in it.
struct Watcher {
    ListHook of_file;
    virtual void file_changed() = 0;
    virtual void file_gone() = 0;

  protected:
    ~Watcher() = default;
};

class File {
  public:
    explicit File(std::uint32_t status_flags) : status_flags_(status_flags) {}
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    virtual ~File();

    virtual Result read(Buffers& to);
    virtual Result write(Buffers& from);
    virtual Result read_at(Buffers& to, std::uint64_t offset);
    virtual Result write_at(Buffers& from, std::uint64_t offset);
    virtual Result seek(std::int64_t offset, int whence);
    virtual Result control(unsigned request, void* argument);
    virtual Result list(Buffers& to);  // getdents64
    virtual void describe(struct stat& status) const = 0;
    // POLL* bits that hold now.
    [[nodiscard]] virtual std::uint32_t ready() const;
    // Monotonic nanoseconds that a blocking read or write may wait (SO_RCVTIMEO, SO_SNDTIMEO); 0: for ever.
    [[nodiscard]] virtual std::uint64_t wait_limit(bool reading) const;

    virtual Epoll* as_epoll() { return nullptr; }
    virtual Socket* as_socket() { return nullptr; }
    virtual TimerFile* as_timer() { return nullptr; }

    [[nodiscard]] std::uint32_t status_flags() const { return status_flags_; }
    void set_status_flags(std::uint32_t flags) { status_flags_ = flags; }
    [[nodiscard]] bool nonblocking() const;
    [[nodiscard]] bool readable() const;
    [[nodiscard]] bool writable() const;

    void watch(Watcher& watcher) { watchers_.push_back(watcher); }
    // Tells the watchers that ready() may have gained a bit.
    void changed();

    void acquire() { ++references_; }
    void release() {
        if (--references_ == 0) {
            delete this;
        }
    }

  private:
    std::uint32_t references_ = 0;
    std::uint32_t status_flags_;
    List<Watcher, &Watcher::of_file> watchers_;
};

// Owns one reference to a file.
template <typename T = File>
class FileReference {
  public:
    FileReference() = default;
    explicit FileReference(T* file) : file_(file) {
        if (file_ != nullptr) {
            file_->acquire();
        }
    }
    FileReference(const FileReference& other) : FileReference(other.file_) {}
    FileReference(FileReference&& other) noexcept : file_(std::exchange(other.file_, nullptr)) {}
    FileReference& operator=(FileReference other) noexcept {
        std::swap(file_, other.file_);
        return *this;
    }
    ~FileReference() {
        if (file_ != nullptr) {
            file_->release();
        }
    }

    [[nodiscard]] T* get() const { return file_; }
    T* operator->() const { return file_; }
    T& operator*() const { return *file_; }
    explicit operator bool() const { return file_ != nullptr; }

  private:
    T* file_ = nullptr;
};

}  // namespace understudy::kernel
