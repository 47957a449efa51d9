// eventfd: a counter to wait for.
#include <asm/poll.h>
#include <linux/fcntl.h>

#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/system_calls.hpp"

namespace understudy::kernel {

namespace {

constexpr unsigned kSemaphore = 1;  // EFD_SEMAPHORE
constexpr std::uint64_t kMaximum = ~0ULL - 1;

class EventFile final : public File {
  public:
    EventFile(std::uint32_t status_flags, std::uint64_t initial, bool semaphore)
        : File(status_flags), value_(initial), semaphore_(semaphore) {}

    Result read(Buffers& to) override {
        if (to.remaining() < sizeof value_) {
            return failure(EINVAL);
        }
        if (value_ == 0) {
            return failure(EAGAIN);
        }
        const std::uint64_t taken = semaphore_ ? 1 : value_;
        value_ -= taken;
        to.put(&taken, sizeof taken);
        changed();
        return sizeof taken;
    }

    Result write(Buffers& from) override {
        std::uint64_t added = 0;
        if (from.remaining() < sizeof added) {
            return failure(EINVAL);
        }
        Buffers look = from;  // what cannot be added yet stays unread
        look.take(&added, sizeof added);
        if (added == ~0ULL) {
            return failure(EINVAL);
        }
        if (added > kMaximum - value_) {
            return failure(EAGAIN);
        }
        from = look;
        value_ += added;
        changed();
        return sizeof added;
    }

    [[nodiscard]] std::uint32_t ready() const override {
        return (value_ != 0 ? POLLIN | POLLRDNORM : 0U) | (value_ < kMaximum ? POLLOUT | POLLWRNORM : 0U);
    }
    void describe(struct stat& status) const override { status.st_mode = kAnonymousFile | 0600; }

  private:
    std::uint64_t value_;
    bool semaphore_;
};

}  // namespace

Result sys_eventfd2(unsigned initial, unsigned flags) {
    if ((flags & ~(unsigned{O_CLOEXEC | O_NONBLOCK} | kSemaphore)) != 0) {
        return failure(EINVAL);
    }
    const auto file = make_file<EventFile>(O_RDWR | (flags & O_NONBLOCK), initial, (flags & kSemaphore) != 0);
    return descriptors().add(FileReference<>(file.get()), (flags & O_CLOEXEC) != 0);
}

Result sys_eventfd(unsigned initial) {
    return sys_eventfd2(initial, 0);
}

}  // namespace understudy::kernel
