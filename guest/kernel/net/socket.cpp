#include "guest/kernel/net/socket.hpp"

#include <asm/ioctls.h>

#include "guest/kernel/linux.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

Result Socket::read(Buffers& to) {
    Received ignored;
    // Asked for nothing, read answers at once; recv waits.
    return to.remaining() == 0 ? Result(0) : receive(to, 0, ignored);
}

Result Socket::write(Buffers& from) {
    return send(from, 0, std::nullopt);
}

Result Socket::control(unsigned request, void* argument) {
    constexpr unsigned kOutgoing = TIOCOUTQ;  // SIOCOUTQ is the same number
    if (request != FIONREAD && request != kOutgoing) {
        return failure(ENOTTY);
    }
    if (!accessible(static_cast<int*>(argument))) {
        return failure(EFAULT);
    }
    *static_cast<int*>(argument) = static_cast<int>(request == FIONREAD ? available() : outstanding());
    return 0;
}

void Socket::describe(struct stat& status) const {
    status.st_mode = kSocketFile | 0777;
    status.st_nlink = 1;
    status.st_blksize = 4096;
}

Nanoseconds Socket::wait_limit(bool reading) const {
    return reading ? options.receive_timeout : options.send_timeout;
}

}  // namespace understudy::kernel
