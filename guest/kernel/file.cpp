#include "guest/kernel/file.hpp"

#include <asm/poll.h>
#include <linux/fcntl.h>

namespace understudy::kernel {

File::~File() {
    watchers_.for_each([](Watcher& watcher) {
        watcher.of_file.unlink();
        watcher.file_gone();
    });
}

Result File::read(Buffers& /*to*/) {
    return failure(EINVAL);
}
Result File::write(Buffers& /*from*/) {
    return failure(EINVAL);
}
Result File::read_at(Buffers& /*to*/, std::uint64_t /*offset*/) {
    return failure(ESPIPE);
}
Result File::write_at(Buffers& /*from*/, std::uint64_t /*offset*/) {
    return failure(ESPIPE);
}
Result File::seek(std::int64_t /*offset*/, int /*whence*/) {
    return failure(ESPIPE);
}
Result File::control(unsigned /*request*/, void* /*argument*/) {
    return failure(ENOTTY);
}
Result File::list(Buffers& /*to*/) {
    return failure(ENOTDIR);
}
std::uint32_t File::ready() const {
    return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}
std::uint64_t File::wait_limit(bool /*reading*/) const {
    return 0;
}

bool File::nonblocking() const {
    return (status_flags_ & O_NONBLOCK) != 0;
}
bool File::readable() const {
    return (status_flags_ & O_ACCMODE) != O_WRONLY;
}
bool File::writable() const {
    return (status_flags_ & O_ACCMODE) != O_RDONLY;
}

void File::changed() {
    watchers_.for_each([](Watcher& watcher) { watcher.file_changed(); });
}

}  // namespace understudy::kernel
