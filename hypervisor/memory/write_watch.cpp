#include "hypervisor/memory/write_watch.hpp"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "common/mapping.hpp"
#include "common/units.hpp"

namespace understudy::memory {
namespace {

// UFFD_FEATURE_WP_UNPOPULATED of Linux 6.4, which older headers lack.
constexpr std::uint64_t kProtectsAbsent = 1U << 13U;

uffdio_range range_of(std::span<std::byte> bytes) {
    return {reinterpret_cast<std::uint64_t>(bytes.data()), bytes.size()};
}

// By the system call, or where that is only root's by the device, which has an owner and a mode.
FileDescriptor open_descriptor() {
    FileDescriptor fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
    if (!fd) {
        if (const FileDescriptor device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC)); device) {
            fd = FileDescriptor(::ioctl(device.get(), USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
        }
    }
    return fd;
}

FileDescriptor open_with(std::uint64_t features) {
    FileDescriptor fd = open_descriptor();
    uffdio_api api{};
    api.api = UFFD_API;
    api.features = features;
    if (fd && ::ioctl(fd.get(), UFFDIO_API, &api) == 0) {
        return fd;
    }
    return FileDescriptor();
}

// Where absent pages cannot be protected they get the zero page first, which Linux before 5.14 does not do.
bool can_populate() {
    const Mapping page = Mapping::anonymous(kPageBytes);
    return page && ::madvise(page.data(), page.size(), MADV_POPULATE_READ) == 0;
}

bool change_protection(int fd, std::span<std::byte> range, std::uint64_t mode) {
    uffdio_writeprotect change{};
    change.range = range_of(range);
    change.mode = mode;
    int result = 0;
    do {
        result = ::ioctl(fd, UFFDIO_WRITEPROTECT, &change);
    } while (result != 0 && errno == EAGAIN);
    return result == 0;
}

}  // namespace

std::optional<WriteWatch> WriteWatch::of(std::span<std::byte> memory) {
    bool protects_absent = true;
    FileDescriptor fd = open_with(UFFD_FEATURE_PAGEFAULT_FLAG_WP | kProtectsAbsent);
    if (!fd && can_populate()) {
        protects_absent = false;
        fd = open_with(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
    }
    uffdio_register area{};
    area.range = range_of(memory);
    area.mode = UFFDIO_REGISTER_MODE_WP;
    if (!fd || ::ioctl(fd.get(), UFFDIO_REGISTER, &area) != 0) {
        return std::nullopt;
    }
    return WriteWatch(std::move(fd), protects_absent);
}

bool WriteWatch::protect(std::span<std::byte> range) {
    if (!protects_absent_ && ::madvise(range.data(), range.size(), MADV_POPULATE_READ) != 0) {
        return false;
    }
    return change_protection(fd_.get(), range, UFFDIO_WRITEPROTECT_MODE_WP);
}

void WriteWatch::unprotect(std::span<std::byte> range) {
    change_protection(fd_.get(), range, 0);
}

void WriteWatch::forget(std::span<std::byte> range) {
    uffdio_range gone = range_of(range);
    ::ioctl(fd_.get(), UFFDIO_UNREGISTER, &gone);
    // Linux wakes nobody by itself where only writes were watched, and what is watched no more can be unprotected no
    // more.
    ::ioctl(fd_.get(), UFFDIO_WAKE, &gone);
}

std::optional<std::uint64_t> WriteWatch::next_fault() {
    uffd_msg message{};
    while (::read(fd_.get(), &message, sizeof message) == sizeof message) {
        if (message.event == UFFD_EVENT_PAGEFAULT) {
            const std::uint64_t address = message.arg.pagefault.address;
            return address;
        }
    }
    return std::nullopt;
}

bool WriteWatch::possible() {
    return open_with(UFFD_FEATURE_PAGEFAULT_FLAG_WP | kProtectsAbsent) ||
           (can_populate() && open_with(UFFD_FEATURE_PAGEFAULT_FLAG_WP));
}

}  // namespace understudy::memory
