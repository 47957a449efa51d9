// epoll: interests in files, found by descriptor; a list of those whose file has changed.
#include <asm/poll.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>

#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/events.hpp"
#include "guest/kernel/ready_list.hpp"
#include "guest/kernel/signals.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {
struct FileInterest;
constexpr int kMaxNesting = 5;  // epoll instances that watch epoll instances
}  // namespace

class Epoll final : public File {
  public:
    Epoll() : File(O_RDWR) {}
    ~Epoll() override;

    Result add(int fd, File& file, const epoll_event& event);
    Result modify(int fd, const File& file, const epoll_event& event);
    Result remove(int fd, const File& file);
    std::size_t collect(epoll_event* events, std::size_t capacity);
    [[nodiscard]] bool watches(const File& file, int depth) const;

    void mark(FileInterest& interest);
    void forget(FileInterest& interest);

    [[nodiscard]] std::uint32_t ready() const override;
    void describe(struct stat& status) const override { status.st_mode = kAnonymousFile | 0600; }
    Epoll* as_epoll() override { return this; }

  private:
    FileInterest* find(int fd, const File& file) const;
    bool grow(std::size_t size);

    FileInterest** by_descriptor_ = nullptr;
    std::size_t size_ = 0;
    mutable ReadyList ready_list_;
};

namespace {

struct FileInterest final : Watcher, Interest {
    FileInterest(Epoll& its_epoll, int its_fd, File& its_file) : epoll(its_epoll), fd(its_fd), file(its_file) {
        its_file.watch(*this);
    }
    FileInterest(const FileInterest&) = delete;
    FileInterest& operator=(const FileInterest&) = delete;
    virtual ~FileInterest() {
        of_file.unlink();
        in_ready_list.unlink();
    }
    void file_changed() override { epoll.mark(*this); }
    void file_gone() override { epoll.forget(*this); }

    Epoll& epoll;
    int fd;
    File& file;
};

std::uint32_t ready_of(const Interest& interest) {
    return static_cast<const FileInterest&>(interest).file.ready();
}

}  // namespace

Epoll::~Epoll() {
    for (std::size_t fd = 0; fd < size_; ++fd) {
        delete by_descriptor_[fd];
    }
    delete[] by_descriptor_;
}

FileInterest* Epoll::find(int fd, const File& file) const {
    FileInterest* interest = static_cast<std::size_t>(fd) < size_ ? by_descriptor_[fd] : nullptr;
    return interest != nullptr && &interest->file == &file ? interest : nullptr;
}

bool Epoll::grow(std::size_t size) {
    if (size <= size_) {
        return true;
    }
    std::size_t wanted = size_ == 0 ? 64 : size_;
    while (wanted < size) {
        wanted *= 2;
    }
    auto* grown = new (std::nothrow) FileInterest* [wanted] {};
    if (grown == nullptr) {
        return false;
    }
    for (std::size_t i = 0; i < size_; ++i) {
        grown[i] = by_descriptor_[i];
    }
    delete[] by_descriptor_;
    by_descriptor_ = grown;
    size_ = wanted;
    return true;
}

Result Epoll::add(int fd, File& file, const epoll_event& event) {
    if (find(fd, file) != nullptr) {
        return failure(EEXIST);
    }
    if (!grow(static_cast<std::size_t>(fd) + 1)) {
        return failure(ENOMEM);
    }
    delete by_descriptor_[fd];  // of a file that lives on elsewhere: its descriptor was closed and used again
    by_descriptor_[fd] = nullptr;
    auto* interest = new (std::nothrow) FileInterest(*this, fd, file);
    if (interest == nullptr) {
        return failure(ENOMEM);
    }
    by_descriptor_[fd] = interest;
    return modify(fd, file, event);
}

Result Epoll::modify(int fd, const File& file, const epoll_event& event) {
    FileInterest* interest = find(fd, file);
    if (interest == nullptr) {
        return failure(ENOENT);
    }
    if (((interest->events | event.events) & kEpollExclusive) != 0 && interest->events != 0) {
        return failure(EINVAL);  // exclusive once, exclusive for good
    }
    // EPOLLERR and EPOLLHUP count as asked for, so that a set without other bits is not taken for disarmed.
    interest->events = event.events | kEpollAlways;
    interest->data = event.data;
    if (interest->wanted(file.ready()) != 0) {
        mark(*interest);
    }
    return 0;
}

Result Epoll::remove(int fd, const File& file) {
    FileInterest* interest = find(fd, file);
    if (interest == nullptr) {
        return failure(ENOENT);
    }
    forget(*interest);
    return 0;
}

void Epoll::forget(FileInterest& interest) {
    by_descriptor_[interest.fd] = nullptr;
    delete &interest;
}

void Epoll::mark(FileInterest& interest) {
    const bool first = ready_list_.empty();
    ready_list_.mark(interest);
    if (first) {
        changed();
    }
}

std::uint32_t Epoll::ready() const {
    return ready_list_.any(ready_of) ? POLLIN | POLLRDNORM : 0U;
}

std::size_t Epoll::collect(epoll_event* events, std::size_t capacity) {
    return ready_list_.collect(capacity, ready_of, [&events](const Interest& interest, std::uint32_t bits) {
        events->events = bits;
        events->data = interest.data;
        ++events;
    });
}

// Whether `file` is watched here or by an instance watched here.
bool Epoll::watches(const File& file, int depth) const {
    for (std::size_t fd = 0; fd < size_ && depth > 0; ++fd) {
        if (by_descriptor_[fd] == nullptr) {
            continue;
        }
        File& watched = by_descriptor_[fd]->file;
        const Epoll* nested = watched.as_epoll();
        if (&watched == &file || (nested != nullptr && nested->watches(file, depth - 1))) {
            return true;
        }
    }
    return depth == 0;
}

Result sys_epoll_create1(unsigned flags) {
    if ((flags & ~unsigned{O_CLOEXEC}) != 0) {
        return failure(EINVAL);
    }
    return descriptors().add(FileReference<>(make_file<Epoll>().get()), (flags & O_CLOEXEC) != 0);
}

Result sys_epoll_create(int size) {
    return size <= 0 ? failure(EINVAL) : sys_epoll_create1(0);
}

Result sys_epoll_ctl(int epoll_fd, int operation, int fd, epoll_event* user_event) {
    File* epoll_file = descriptors().find(epoll_fd);
    File* file = descriptors().find(fd);
    const bool needs_event = operation != EPOLL_CTL_DEL;
    if (needs_event && !accessible(user_event)) {
        return failure(EFAULT);
    }
    if (epoll_file == nullptr || file == nullptr) {
        return failure(EBADF);
    }
    Epoll* epoll = epoll_file->as_epoll();
    if (epoll == nullptr || epoll_file == file) {
        return failure(EINVAL);
    }
    struct stat status {};
    file->describe(status);
    const std::uint32_t type = status.st_mode & kFileTypeMask;
    if (type == kRegularFile || type == kDirectory || type == kCharacterDevice) {
        return failure(EPERM);
    }
    switch (operation) {
        case EPOLL_CTL_ADD:
            if (const Epoll* nested = file->as_epoll();
                nested != nullptr && nested->watches(*epoll_file, kMaxNesting)) {
                return failure(ELOOP);
            }
            return epoll->add(fd, *file, *user_event);
        case EPOLL_CTL_MOD:
            return epoll->modify(fd, *file, *user_event);
        case EPOLL_CTL_DEL:
            return epoll->remove(fd, *file);
        default:
            return failure(EINVAL);
    }
}

namespace {

Result wait_for_events(int epoll_fd, epoll_event* events, int capacity, Nanoseconds timeout) {
    const FileReference<> file(descriptors().find(epoll_fd));
    if (!file) {
        return failure(EBADF);
    }
    Epoll* epoll = file->as_epoll();
    if (epoll == nullptr || capacity <= 0) {
        return failure(EINVAL);
    }
    if (!accessible(events, static_cast<std::size_t>(capacity) * sizeof *events)) {
        return failure(EFAULT);
    }
    std::size_t count = 0;
    const Wake wake = wait_until(
        [&] {
            count = epoll->collect(events, static_cast<std::size_t>(capacity));
            return count != 0;
        },
        timeout == kNever ? kNever : after(now(), timeout));
    return wake == Wake::interrupted ? failure(EINTR) : Result(static_cast<std::int64_t>(count));
}

Nanoseconds timeout_of(int milliseconds) {
    return milliseconds < 0 ? kNever : static_cast<Nanoseconds>(milliseconds) * kMillisecond;
}

}  // namespace

Result sys_epoll_wait(int epoll_fd, epoll_event* events, int capacity, int timeout_ms) {
    return wait_for_events(epoll_fd, events, capacity, timeout_of(timeout_ms));
}

Result sys_epoll_pwait(int epoll_fd, epoll_event* events, int capacity, int timeout_ms, const std::uint64_t* mask,
                       std::size_t mask_size) {
    if (!set_temporary_mask(mask, mask_size)) {
        return failure(mask_size != sizeof *mask ? EINVAL : EFAULT);
    }
    return wait_for_events(epoll_fd, events, capacity, timeout_of(timeout_ms));
}

Result sys_epoll_pwait2(int epoll_fd, epoll_event* events, int capacity, const Timespec* timeout,
                        const std::uint64_t* mask, std::size_t mask_size) {
    if (timeout != nullptr && (!accessible(timeout) || !valid(*timeout))) {
        return failure(accessible(timeout) ? EINVAL : EFAULT);
    }
    const Nanoseconds limit = timeout == nullptr ? kNever : nanoseconds(*timeout);
    if (!set_temporary_mask(mask, mask_size)) {
        return failure(mask_size != sizeof *mask ? EINVAL : EFAULT);
    }
    return wait_for_events(epoll_fd, events, capacity, limit);
}

}  // namespace understudy::kernel
