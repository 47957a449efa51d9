// System calls on descriptors of any kind: reading, writing, duplicating, flags.
#include <asm/ioctls.h>
#include <asm/poll.h>
#include <linux/fcntl.h>
#include <linux/fs.h>

#include <cstring>

#include "guest/kernel/blocking.hpp"
#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

constexpr std::size_t kMaxPieces = 1024;  // IOV_MAX

// Checks a vector of buffers; the total's bound is Linux's.
Result check(const iovec* pieces, std::uint64_t count) {
    if (count > kMaxPieces) {
        return failure(EINVAL);
    }
    if (!accessible(pieces, count * sizeof *pieces)) {
        return failure(EFAULT);
    }
    std::size_t total = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (static_cast<std::int64_t>(pieces[i].iov_len) < 0) {
            return failure(EINVAL);
        }
        if (pieces[i].iov_len != 0 && !accessible(pieces[i].iov_base, pieces[i].iov_len)) {
            return failure(EFAULT);
        }
        total += pieces[i].iov_len;
    }
    return total > kMaxTransfer ? failure(EINVAL) : Result(0);
}

enum class Direction { reading, writing };

// Checks the descriptor, then runs `transfer(file, buffers)` on buffers that were checked.
template <typename Transfer>
Result transfer_checked(int fd, std::span<const iovec> pieces, Result checked, Direction direction, Transfer transfer) {
    const FileReference<> file(descriptors().find(fd));
    if (!file || !(direction == Direction::reading ? file->readable() : file->writable())) {
        return failure(EBADF);
    }
    if (checked.failed()) {
        return checked;
    }
    Buffers buffers(pieces);
    return transfer(*file, buffers);
}

template <typename Transfer>
Result transfer_vector(int fd, const iovec* pieces, std::uint64_t count, Direction direction, Transfer transfer) {
    const Result checked = check(pieces, count);
    return transfer_checked(fd, {pieces, count}, checked, direction, transfer);
}

template <typename Transfer>
Result transfer_one(int fd, const void* buffer, std::size_t size, Direction direction, Transfer transfer) {
    const iovec piece{const_cast<void*>(buffer), size < kMaxTransfer ? size : kMaxTransfer};
    const bool valid = size == 0 || accessible(buffer, piece.iov_len);
    return transfer_checked(fd, {&piece, 1}, valid ? Result(0) : failure(EFAULT), direction, transfer);
}

Result read_once(File& file, Buffers& to) {
    return blocking(file, false, true, [&] { return file.read(to); });
}

// A blocking write goes on until everything is written; a signal or an error after some of it answers how much.
Result write_all(File& file, Buffers& from) {
    std::int64_t written = 0;
    do {
        const Result result = blocking(file, false, false, [&] { return file.write(from); });
        if (result.failed()) {
            return written != 0 ? Result(written) : result;
        }
        written += result.raw();
    } while (from.remaining() != 0 && !file.nonblocking());
    return written;
}

// For preadv and pwritev. The offset is one register on x86-64.
template <Direction direction>
Result at_offset(File& file, Buffers& buffers, std::int64_t offset) {
    if (offset < 0) {
        return failure(EINVAL);
    }
    return direction == Direction::reading ? file.read_at(buffers, static_cast<std::uint64_t>(offset))
                                           : file.write_at(buffers, static_cast<std::uint64_t>(offset));
}

}  // namespace

Result sys_read(int fd, void* buffer, std::size_t size) {
    return transfer_one(fd, buffer, size, Direction::reading, read_once);
}
Result sys_write(int fd, const void* buffer, std::size_t size) {
    return transfer_one(fd, buffer, size, Direction::writing, write_all);
}
Result sys_readv(int fd, const iovec* pieces, std::uint64_t count) {
    return transfer_vector(fd, pieces, count, Direction::reading, read_once);
}
Result sys_writev(int fd, const iovec* pieces, std::uint64_t count) {
    return transfer_vector(fd, pieces, count, Direction::writing, write_all);
}
Result sys_pread64(int fd, void* buffer, std::size_t size, std::int64_t offset) {
    return transfer_one(fd, buffer, size, Direction::reading,
                        [&](File& file, Buffers& to) { return at_offset<Direction::reading>(file, to, offset); });
}
Result sys_pwrite64(int fd, const void* buffer, std::size_t size, std::int64_t offset) {
    return transfer_one(fd, buffer, size, Direction::writing,
                        [&](File& file, Buffers& from) { return at_offset<Direction::writing>(file, from, offset); });
}
Result sys_preadv(int fd, const iovec* pieces, std::uint64_t count, std::int64_t offset) {
    return transfer_vector(fd, pieces, count, Direction::reading,
                           [&](File& file, Buffers& to) { return at_offset<Direction::reading>(file, to, offset); });
}
Result sys_pwritev(int fd, const iovec* pieces, std::uint64_t count, std::int64_t offset) {
    return transfer_vector(fd, pieces, count, Direction::writing, [&](File& file, Buffers& from) {
        return at_offset<Direction::writing>(file, from, offset);
    });
}

Result sys_sendfile(int out_fd, int in_fd, std::int64_t* offset, std::size_t size) {
    const FileReference<> out(descriptors().find(out_fd));
    const FileReference<> in(descriptors().find(in_fd));
    if (!out || !in || !out->writable() || !in->readable()) {
        return failure(EBADF);
    }
    if (offset != nullptr && !accessible(offset)) {
        return failure(EFAULT);
    }
    constexpr std::size_t kChunk = 4096;
    std::uint8_t chunk[kChunk];
    std::int64_t sent = 0;
    std::int64_t position = offset != nullptr ? *offset : in->seek(0, SEEK_CUR).raw();
    if (position < 0) {
        return failure(EINVAL);
    }
    while (size > 0) {
        iovec piece{chunk, size < kChunk ? size : kChunk};
        Buffers to({&piece, 1});
        const Result got = in->read_at(to, static_cast<std::uint64_t>(position));
        if (got.failed() || got.raw() == 0) {
            return got.failed() && sent == 0 ? got : Result(sent);
        }
        piece.iov_len = static_cast<std::size_t>(got.raw());
        Buffers from({&piece, 1});
        const Result put = write_all(*out, from);
        if (put.failed()) {
            return sent != 0 ? Result(sent) : put;
        }
        sent += put.raw();
        position += put.raw();
        size -= static_cast<std::size_t>(put.raw());
        if (offset != nullptr) {
            *offset = position;
        } else {
            (void)in->seek(position, SEEK_SET);
        }
        if (put.raw() < got.raw()) {
            break;
        }
    }
    return sent;
}

Result sys_lseek(int fd, std::int64_t offset, int whence) {
    File* file = descriptors().find(fd);
    return file == nullptr ? failure(EBADF) : file->seek(offset, whence);
}

Result sys_close(int fd) {
    return descriptors().close(fd);
}

Result sys_close_range(unsigned first, unsigned last, unsigned flags) {
    constexpr unsigned kCloseOnExec = 4;  // CLOSE_RANGE_CLOEXEC
    if (first > last || (flags & ~kCloseOnExec) != 0) {
        return failure(EINVAL);
    }
    for (std::size_t fd = first; fd <= last && fd < descriptors().size(); ++fd) {
        if (descriptors().find(static_cast<int>(fd)) == nullptr) {
            continue;
        }
        if ((flags & kCloseOnExec) != 0) {
            descriptors().set_close_on_exec(static_cast<int>(fd), true);
        } else {
            (void)descriptors().close(static_cast<int>(fd));
        }
    }
    return 0;
}

Result sys_dup(int fd) {
    FileReference<> file(descriptors().find(fd));
    return file ? descriptors().add(std::move(file), false) : failure(EBADF);
}

Result sys_dup2(int old_fd, int new_fd) {
    FileReference<> file(descriptors().find(old_fd));
    if (!file || old_fd == new_fd) {
        return file ? Result(new_fd) : failure(EBADF);
    }
    return descriptors().replace(new_fd, std::move(file), false);
}

Result sys_dup3(int old_fd, int new_fd, unsigned flags) {
    FileReference<> file(descriptors().find(old_fd));
    if (old_fd == new_fd || (flags & ~unsigned{O_CLOEXEC}) != 0) {
        return failure(EINVAL);
    }
    return file ? descriptors().replace(new_fd, std::move(file), (flags & O_CLOEXEC) != 0) : failure(EBADF);
}

Result sys_fcntl(int fd, unsigned command, std::uint64_t argument) {
    constexpr std::uint32_t kSettable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | FASYNC;
    FileReference<> file(descriptors().find(fd));
    if (!file) {
        return failure(EBADF);
    }
    switch (command) {
        case F_DUPFD:
        case F_DUPFD_CLOEXEC:
            if (argument >= descriptors().limit()) {
                return failure(EINVAL);
            }
            return descriptors().add(std::move(file), command == F_DUPFD_CLOEXEC, static_cast<int>(argument));
        case F_GETFD:
            return descriptors().close_on_exec(fd) ? FD_CLOEXEC : 0;
        case F_SETFD:
            descriptors().set_close_on_exec(fd, (argument & FD_CLOEXEC) != 0);
            return 0;
        case F_GETFL:
            return file->status_flags();
        case F_SETFL:
            file->set_status_flags((file->status_flags() & ~kSettable) |
                                   (static_cast<std::uint32_t>(argument) & kSettable));
            return 0;
        case F_SETLK:
        case F_SETLKW:
            return 0;  // one process: every lock is granted
        case F_GETLK: {
            auto* lock = reinterpret_cast<struct flock*>(argument);
            if (!accessible(lock)) {
                return failure(EFAULT);
            }
            lock->l_type = F_UNLCK;
            return 0;
        }
        default:
            return failure(EINVAL);
    }
}

Result sys_ioctl(int fd, unsigned request, void* argument) {
    File* file = descriptors().find(fd);
    if (file == nullptr) {
        return failure(EBADF);
    }
    switch (request) {
        case FIONBIO: {
            if (!accessible(static_cast<int*>(argument))) {
                return failure(EFAULT);
            }
            const bool on = *static_cast<int*>(argument) != 0;
            file->set_status_flags(on ? file->status_flags() | O_NONBLOCK
                                      : file->status_flags() & ~std::uint32_t{O_NONBLOCK});
            return 0;
        }
        case FIOCLEX:
        case FIONCLEX:
            descriptors().set_close_on_exec(fd, request == FIOCLEX);
            return 0;
        default:
            return file->control(request, argument);
    }
}

// Nothing is ever unwritten.
Result sys_fsync(int fd) {
    const File* file = descriptors().find(fd);
    if (file == nullptr) {
        return failure(EBADF);
    }
    struct stat status {};
    file->describe(status);
    const std::uint32_t type = status.st_mode & kFileTypeMask;
    return type == kRegularFile || type == kDirectory ? Result(0) : failure(EINVAL);
}
Result sys_sync() {
    return 0;
}

Result sys_flock(int fd, int operation) {
    constexpr int kDontBlock = 4;
    const int kind = operation & ~kDontBlock;
    if (descriptors().find(fd) == nullptr) {
        return failure(EBADF);
    }
    return kind == 1 || kind == 2 || kind == 8 ? Result(0) : failure(EINVAL);  // one process: every lock is granted
}

Result sys_fadvise64(int fd) {
    return descriptors().find(fd) == nullptr ? failure(EBADF) : Result(0);
}

}  // namespace understudy::kernel
