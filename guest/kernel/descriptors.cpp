#include "guest/kernel/descriptors.hpp"

#include <string_view>

namespace understudy::kernel {

namespace {
constinit Descriptors the_descriptors;
}  // namespace

Descriptors& descriptors() {
    return the_descriptors;
}

bool Descriptors::grow(std::size_t size) {
    std::size_t wanted = std::max<std::size_t>(size_, 64);
    while (wanted < size) {
        wanted *= 2;
    }
    if (wanted == size_) {
        return true;
    }
    auto* slots = new (std::nothrow) Slot[wanted];
    if (slots == nullptr) {
        return false;
    }
    for (std::size_t i = 0; i < size_; ++i) {
        slots[i] = std::move(slots_[i]);
    }
    delete[] slots_;
    slots_ = slots;
    size_ = wanted;
    return true;
}

Result Descriptors::add(FileReference<> file, bool close_on_exec, int lowest) {
    if (!file) {
        return failure(ENOMEM);
    }
    std::size_t fd = std::max(lowest_free_, static_cast<std::size_t>(lowest));
    while (fd < size_ && slots_[fd].file) {
        ++fd;
    }
    if (fd >= limit_) {
        return failure(EMFILE);
    }
    if (!grow(fd + 1)) {
        return failure(ENOMEM);
    }
    if (static_cast<std::size_t>(lowest) <= lowest_free_) {
        lowest_free_ = fd + 1;
    }
    slots_[fd] = Slot{std::move(file), close_on_exec};
    return static_cast<std::int64_t>(fd);
}

Result Descriptors::replace(int fd, FileReference<> file, bool close_on_exec) {
    if (fd < 0 || static_cast<std::size_t>(fd) >= limit_) {
        return failure(EBADF);
    }
    if (!grow(static_cast<std::size_t>(fd) + 1)) {
        return failure(ENOMEM);
    }
    slots_[fd] = Slot{std::move(file), close_on_exec};
    return fd;
}

Result Descriptors::close(int fd) {
    if (find(fd) == nullptr) {
        return failure(EBADF);
    }
    // The slot is free before the file goes: closing may run code that looks at the table.
    const FileReference<> closed = std::move(slots_[fd].file);
    slots_[fd].close_on_exec = false;
    lowest_free_ = std::min(lowest_free_, static_cast<std::size_t>(fd));
    return 0;
}

void Descriptors::close_all() {
    for (std::size_t fd = 0; fd < size_; ++fd) {
        if (slots_[fd].file) {
            (void)close(static_cast<int>(fd));
        }
    }
}

}  // namespace understudy::kernel
