// Pipes.
#include <asm/ioctls.h>
#include <asm/poll.h>
#include <asm/signal.h>
#include <linux/fcntl.h>

#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/signals.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

class PipeEnd;

// The bytes between two ends; lives as long as one of them does.
class PipeBuffer {
  public:
    static constexpr std::size_t kCapacity = 65536;
    static constexpr std::size_t kAtomic = 4096;  // PIPE_BUF: a write of up to this much is never split

    [[nodiscard]] std::size_t size() const { return produced_ - consumed_; }
    [[nodiscard]] std::size_t room() const { return kCapacity - size(); }

    std::size_t take(Buffers& to) {
        std::size_t taken = 0;
        while (size() != 0 && to.remaining() != 0) {
            const std::size_t at = consumed_ % kCapacity;
            const std::size_t count = to.put(bytes_ + at, std::min(size(), kCapacity - at));
            consumed_ += count;
            taken += count;
        }
        return taken;
    }
    std::size_t put(Buffers& from) {
        std::size_t put = 0;
        while (room() != 0 && from.remaining() != 0) {
            const std::size_t at = produced_ % kCapacity;
            const std::size_t count = from.take(bytes_ + at, std::min(room(), kCapacity - at));
            produced_ += count;
            put += count;
        }
        return put;
    }

    PipeEnd* reader = nullptr;  // null: closed
    PipeEnd* writer = nullptr;

  private:
    std::size_t produced_ = 0;
    std::size_t consumed_ = 0;
    std::uint8_t bytes_[kCapacity];
};

class PipeEnd final : public File {
  public:
    PipeEnd(std::uint32_t status_flags, PipeBuffer& buffer) : File(status_flags), buffer_(buffer) {
        (reads() ? buffer.reader : buffer.writer) = this;
    }
    ~PipeEnd() override {
        (reads() ? buffer_.reader : buffer_.writer) = nullptr;
        if (PipeEnd* other = other_end()) {
            other->changed();
        } else {
            delete &buffer_;
        }
    }

    Result read(Buffers& to) override {
        if (to.remaining() == 0) {
            return 0;
        }
        const std::size_t count = buffer_.take(to);
        if (count == 0) {
            return buffer_.writer == nullptr ? Result(0) : failure(EAGAIN);
        }
        if (buffer_.writer != nullptr) {
            buffer_.writer->changed();
        }
        return static_cast<std::int64_t>(count);
    }

    Result write(Buffers& from) override {
        if (buffer_.reader == nullptr) {
            raise_signal(SIGPIPE, SignalCode::user);
            return failure(EPIPE);
        }
        const std::size_t size = from.remaining();
        const bool whole_or_nothing = size <= PipeBuffer::kAtomic;
        if (size != 0 && buffer_.room() < (whole_or_nothing ? size : 1)) {
            return failure(EAGAIN);
        }
        const std::size_t count = buffer_.put(from);
        buffer_.reader->changed();
        return static_cast<std::int64_t>(count);
    }

    Result control(unsigned request, void* argument) override {
        if (request != FIONREAD) {
            return failure(ENOTTY);
        }
        if (!accessible(static_cast<int*>(argument))) {
            return failure(EFAULT);
        }
        *static_cast<int*>(argument) = static_cast<int>(buffer_.size());
        return 0;
    }

    [[nodiscard]] std::uint32_t ready() const override {
        if (reads()) {
            return (buffer_.size() != 0 ? POLLIN | POLLRDNORM : 0U) |
                   (buffer_.writer == nullptr ? std::uint32_t{POLLHUP} : 0U);
        }
        return (buffer_.room() >= PipeBuffer::kAtomic ? POLLOUT | POLLWRNORM : 0U) |
               (buffer_.reader == nullptr ? std::uint32_t{POLLERR} : 0U);
    }

    void describe(struct stat& status) const override {
        status.st_mode = kPipe | 0600;
        status.st_nlink = 1;
        status.st_blksize = 4096;
    }

  private:
    [[nodiscard]] bool reads() const { return readable(); }
    [[nodiscard]] PipeEnd* other_end() const { return reads() ? buffer_.writer : buffer_.reader; }

    PipeBuffer& buffer_;
};

}  // namespace

Result sys_pipe2(int* ends, unsigned flags) {
    if ((flags & ~unsigned{O_CLOEXEC | O_NONBLOCK | O_DIRECT}) != 0) {
        return failure(EINVAL);
    }
    if (!accessible(ends, 2 * sizeof *ends)) {
        return failure(EFAULT);
    }
    auto* buffer = new (std::nothrow) PipeBuffer;
    if (buffer == nullptr) {
        return failure(ENOMEM);
    }
    const FileReference<> reader(make_file<PipeEnd>(O_RDONLY | (flags & O_NONBLOCK), *buffer).get());
    const FileReference<> writer(make_file<PipeEnd>(O_WRONLY | (flags & O_NONBLOCK), *buffer).get());
    if (!reader && !writer) {
        delete buffer;
    }
    if (!reader || !writer) {
        return failure(ENOMEM);
    }
    const bool close_on_exec = (flags & O_CLOEXEC) != 0;
    const Result first = descriptors().add(reader, close_on_exec);
    if (first.failed()) {
        return first;
    }
    const Result second = descriptors().add(writer, close_on_exec);
    if (second.failed()) {
        (void)descriptors().close(static_cast<int>(first.raw()));
        return second;
    }
    ends[0] = static_cast<int>(first.raw());
    ends[1] = static_cast<int>(second.raw());
    return 0;
}

Result sys_pipe(int* ends) {
    return sys_pipe2(ends, 0);
}

}  // namespace understudy::kernel
