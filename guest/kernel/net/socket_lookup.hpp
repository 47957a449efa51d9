// The socket that a system call's descriptor stands for.
#pragma once

#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/net/socket.hpp"

namespace understudy::kernel {

struct SocketLookup {
    Result outcome;  // EBADF, ENOTSOCK
    FileReference<Socket> socket;
};

inline SocketLookup find_socket(int fd) {
    File* file = descriptors().find(fd);
    if (file == nullptr) {
        return {failure(EBADF), {}};
    }
    Socket* socket = file->as_socket();
    return {socket == nullptr ? failure(ENOTSOCK) : Result(0), FileReference<Socket>(socket)};
}

// Runs `action(socket)` on the socket behind `fd`.
template <typename Action>
Result on_socket(int fd, Action action) {
    const SocketLookup found = find_socket(fd);
    return found.outcome.failed() ? found.outcome : action(*found.socket);
}

}  // namespace understudy::kernel
