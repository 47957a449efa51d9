// The table of file descriptors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "guest/kernel/file.hpp"

namespace understudy::kernel {

class Descriptors {
  public:
    static constexpr std::size_t kLimit = 65536;

    // The file behind `fd`, or null.
    [[nodiscard]] File* find(int fd) const {
        return fd >= 0 && static_cast<std::size_t>(fd) < size_ ? slots_[fd].file.get() : nullptr;
    }
    // The lowest free descriptor from `lowest` on; EMFILE, ENOMEM.
    Result add(FileReference<> file, bool close_on_exec, int lowest = 0);
    // Puts the file at `fd` itself, closing what was there; EBADF, ENOMEM.
    Result replace(int fd, FileReference<> file, bool close_on_exec);
    Result close(int fd);
    void close_all();

    [[nodiscard]] bool close_on_exec(int fd) const { return slots_[fd].close_on_exec; }
    void set_close_on_exec(int fd, bool value) { slots_[fd].close_on_exec = value; }
    [[nodiscard]] std::size_t size() const { return size_; }
    // RLIMIT_NOFILE: no new descriptor is this or higher; at most kLimit.
    [[nodiscard]] std::size_t limit() const { return limit_; }
    void set_limit(std::size_t limit) { limit_ = limit; }

  private:
    struct Slot {
        FileReference<> file;
        bool close_on_exec = false;
    };
    bool grow(std::size_t size);

    Slot* slots_ = nullptr;
    std::size_t size_ = 0;
    std::size_t limit_ = kLimit;
    std::size_t lowest_free_ = 0;  // no free descriptor lies below
};

Descriptors& descriptors();

// A new file of type T; empty when there is no memory for it.
template <typename T, typename... Arguments>
FileReference<T> make_file(Arguments&&... arguments) {
    return FileReference<T>(new (std::nothrow) T(std::forward<Arguments>(arguments)...));
}

}  // namespace understudy::kernel
