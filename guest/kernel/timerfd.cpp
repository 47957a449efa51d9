// timerfd: expirations to wait for.
#include <asm/poll.h>
#include <linux/fcntl.h>
#include <linux/time.h>

#include "guest/kernel/clock_ids.hpp"
#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/timers.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

// struct itimerspec.
struct TimerSetting {
    Timespec interval;
    Timespec value;
};
constexpr int kAbsolute = 1;
constexpr int kCancelOnSet = 2;  // the clock is never set

}  // namespace

class TimerFile final : public File {
  public:
    TimerFile(std::uint32_t status_flags, int clock) : File(status_flags), clock_(clock), timer_(on_expired, this) {}

    Result read(Buffers& to) override {
        if (to.remaining() < sizeof expirations_) {
            return failure(EINVAL);
        }
        if (expirations_ == 0) {
            return failure(EAGAIN);
        }
        to.put(&expirations_, sizeof expirations_);
        expirations_ = 0;
        return sizeof expirations_;
    }

    Result set(bool absolute, const TimerSetting& setting) {
        timer_.disarm();
        expirations_ = 0;
        interval_ = nanoseconds(setting.interval);
        const Nanoseconds value = nanoseconds(setting.value);
        if (value != 0 && !timers().arm(timer_, deadline_of(clock_, absolute, value))) {
            return failure(ENOMEM);
        }
        process_due();
        return 0;
    }

    [[nodiscard]] TimerSetting get() const {
        const Nanoseconds at = now();
        const Nanoseconds left = !timer_.armed() ? 0 : timer_.deadline() > at ? timer_.deadline() - at : 1;
        return {timespec_of(interval_), timespec_of(left)};
    }

    [[nodiscard]] std::uint32_t ready() const override { return expirations_ != 0 ? POLLIN | POLLRDNORM : 0U; }
    void describe(struct stat& status) const override { status.st_mode = kAnonymousFile | 0600; }
    TimerFile* as_timer() override { return this; }

  private:
    static void process_due() { timers().expire(now()); }

    static void on_expired(void* context) {
        auto* file = static_cast<TimerFile*>(context);
        if (file->interval_ == 0) {
            ++file->expirations_;
        } else {
            // All that have passed, and the next one on the same grid.
            const Nanoseconds late = now() - file->timer_.deadline();
            const std::uint64_t passed = 1 + late / file->interval_;
            file->expirations_ += passed;
            (void)timers().arm(file->timer_, after(file->timer_.deadline(), passed * file->interval_));
        }
        file->changed();
    }

    int clock_;
    Timer timer_;
    Nanoseconds interval_ = 0;
    std::uint64_t expirations_ = 0;
};

Result sys_timerfd_create(int clock, unsigned flags) {
    if ((flags & ~unsigned{O_CLOEXEC | O_NONBLOCK}) != 0 ||
        (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)) {
        return failure(EINVAL);
    }
    const auto file = make_file<TimerFile>(O_RDWR | (flags & O_NONBLOCK), clock);
    return descriptors().add(FileReference<>(file.get()), (flags & O_CLOEXEC) != 0);
}

Result sys_timerfd_settime(int fd, int flags, const void* user_wanted, void* user_old) {
    const auto* wanted = static_cast<const TimerSetting*>(user_wanted);
    auto* old = static_cast<TimerSetting*>(user_old);
    if (!accessible(wanted) || (old != nullptr && !accessible(old))) {
        return failure(EFAULT);
    }
    const TimerSetting setting = *wanted;
    if ((flags & ~(kAbsolute | kCancelOnSet)) != 0 || !valid(setting.value) || !valid(setting.interval)) {
        return failure(EINVAL);
    }
    File* file = descriptors().find(fd);
    if (file == nullptr || file->as_timer() == nullptr) {
        return failure(file == nullptr ? EBADF : EINVAL);
    }
    if (old != nullptr) {
        *old = file->as_timer()->get();
    }
    return file->as_timer()->set((flags & kAbsolute) != 0, setting);
}

Result sys_timerfd_gettime(int fd, void* user_current) {
    auto* current = static_cast<TimerSetting*>(user_current);
    File* file = descriptors().find(fd);
    if (file == nullptr || file->as_timer() == nullptr) {
        return failure(file == nullptr ? EBADF : EINVAL);
    }
    if (!accessible(current)) {
        return failure(EFAULT);
    }
    *current = file->as_timer()->get();
    return 0;
}

}  // namespace understudy::kernel
