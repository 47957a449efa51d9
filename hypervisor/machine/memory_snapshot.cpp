#include "hypervisor/machine/memory_snapshot.hpp"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/file_descriptor.hpp"
#include "common/mapping.hpp"

namespace understudy::machine {
namespace {

// That of a huge page: protection is lifted from whole ones, so that none has to be split.
constexpr std::uint64_t kChunk = std::uint64_t{2} << 20U;

// Copies what nobody writes to while it is protected: who tries is held by a page fault until the protection is lifted,
// which follows the copying. The thread sanitizer knows nothing of this order and takes that write for a race with the
// copying, so it does not see the copying; the instruction stands here because it would see a call of memcpy.
__attribute__((no_sanitize("thread"))) void copy_protected(std::byte* to, const std::byte* from, std::size_t size) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

Mapping mapping_of(std::size_t size) {
    Mapping mapping = Mapping::anonymous(size);
    if (!mapping) {
        throw Error::from_errno(fmt::format("cannot copy {} MiB of guest memory for a backup", size >> 20U), errno);
    }
    return mapping;
}

class Copy final : public MemorySnapshot {
  public:
    explicit Copy(std::span<const std::byte> memory) : mapping_(mapping_of(memory.size())) {
        std::memcpy(mapping_.data(), memory.data(), memory.size());
    }
    [[nodiscard]] Bytes size() const override { return {mapping_.size()}; }
    void read(std::size_t offset, std::span<std::byte> into) override {
        std::memcpy(into.data(), mapping_.data() + offset, into.size());
    }

  private:
    Mapping mapping_;
};

// A descriptor on which this process is told of writes to memory that it protects; the kernel's own writes, as those on
// behalf of a guest, included. Empty where the host does not allow that.
FileDescriptor open_userfaultfd() {
    FileDescriptor fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
    uffdio_api api{};
    api.api = UFFD_API;
    api.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP;
    if (fd && ::ioctl(fd.get(), UFFDIO_API, &api) == 0) {
        return fd;
    }
    return FileDescriptor();
}

class Protected final : public MemorySnapshot {
  public:
    // Nothing where it cannot be done.
    static std::unique_ptr<MemorySnapshot> of(std::span<std::byte> memory) {
        FileDescriptor fd = open_userfaultfd();
        FileDescriptor end(::eventfd(0, EFD_CLOEXEC));
        if (!fd || !end) {
            return nullptr;
        }
        uffdio_register area{};
        area.range = {address_of(memory.data()), memory.size()};
        area.mode = UFFDIO_REGISTER_MODE_WP;
        if (::ioctl(fd.get(), UFFDIO_REGISTER, &area) != 0) {
            return nullptr;
        }
        auto snapshot = std::unique_ptr<Protected>(new Protected(memory, std::move(fd), std::move(end)));
        if (!snapshot->protect(area.range, true)) {
            return nullptr;
        }
        return snapshot;
    }

    // Whoever waits for a chunk is woken by the unregistering.
    ~Protected() override {
        const std::uint64_t one = 1;
        static_cast<void>(::write(end_.get(), &one, sizeof one));
        keeper_.join();
        uffdio_range all{address_of(memory_.data()), memory_.size()};
        ::ioctl(fd_.get(), UFFDIO_UNREGISTER, &all);
    }
    Protected(const Protected&) = delete;
    Protected& operator=(const Protected&) = delete;

    [[nodiscard]] Bytes size() const override { return {memory_.size()}; }

    void read(std::size_t offset, std::span<std::byte> into) override {
        while (!into.empty()) {
            const std::size_t chunk = chunk_of(memory_.data() + offset);
            const std::size_t end = end_of(chunk);
            const std::size_t size = std::min(into.size(), end - offset);
            read_from(chunk, offset, into.first(size), offset + size == end);
            into = into.subspan(size);
            offset += size;
        }
    }

  private:
    struct Chunk {
        bool is_protected = true;
        Mapping aside;      // what it held, where it was written to before it was read
        bool lost = false;  // there was no memory to put it aside
    };

    Protected(std::span<std::byte> memory, FileDescriptor fd, FileDescriptor end)
        : memory_(memory),
          fd_(std::move(fd)),
          end_(std::move(end)),
          chunks_(chunk_of(memory.data() + memory.size() - 1) + 1),
          keeper_([this] { keep(); }) {}

    static std::uint64_t address_of(const std::byte* at) { return reinterpret_cast<std::uint64_t>(at); }
    // Chunks lie at multiples of their size in the address space; the first and the last may be cut.
    [[nodiscard]] std::size_t chunk_of(const std::byte* at) const { return chunk_of(address_of(at)); }
    [[nodiscard]] std::size_t chunk_of(std::uint64_t address) const {
        return address / kChunk - address_of(memory_.data()) / kChunk;
    }
    // As offsets into memory.
    [[nodiscard]] std::size_t begin_of(std::size_t chunk) const {
        const std::uint64_t at = (address_of(memory_.data()) / kChunk + chunk) * kChunk;
        return at < address_of(memory_.data()) ? 0 : at - address_of(memory_.data());
    }
    [[nodiscard]] std::size_t end_of(std::size_t chunk) const { return std::min(begin_of(chunk + 1), memory_.size()); }

    bool protect(uffdio_range range, bool on) {
        uffdio_writeprotect change{};
        change.range = range;
        change.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
        int result = 0;
        do {
            result = ::ioctl(fd_.get(), UFFDIO_WRITEPROTECT, &change);
        } while (result != 0 && errno == EAGAIN);
        return result == 0;
    }
    // Also wakes who waits for it.
    void unprotect(std::size_t chunk) {
        chunks_[chunk].is_protected = false;
        const std::size_t begin = begin_of(chunk);
        protect({address_of(memory_.data()) + begin, end_of(chunk) - begin}, false);
    }

    void read_from(std::size_t index, std::size_t offset, std::span<std::byte> into, bool to_its_end) {
        const std::lock_guard lock(mutex_);
        Chunk& chunk = chunks_[index];
        if (chunk.lost) {
            throw Error("no memory is left to keep the guest's state for a backup");
        }
        if (chunk.aside) {
            std::memcpy(into.data(), chunk.aside.data() + (offset - begin_of(index)), into.size());
        } else {
            copy_protected(into.data(), memory_.data() + offset, into.size());
        }
        if (to_its_end) {
            chunk.aside = {};
            if (chunk.is_protected) {
                unprotect(index);
            }
        }
    }

    // The thread that puts aside what is about to change.
    void keep() {
        for (;;) {
            std::array<pollfd, 2> waits{{{fd_.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}}};
            if (::poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) {
                return;
            }
            if (waits[1].revents != 0) {
                return;
            }
            uffd_msg message{};
            while (::read(fd_.get(), &message, sizeof message) == sizeof message) {
                if (message.event == UFFD_EVENT_PAGEFAULT) {
                    put_aside(chunk_of(message.arg.pagefault.address));
                }
            }
        }
    }

    void put_aside(std::size_t index) {
        const std::lock_guard lock(mutex_);
        Chunk& chunk = chunks_[index];
        if (chunk.is_protected) {
            const std::size_t begin = begin_of(index);
            const std::size_t size = end_of(index) - begin;
            try {
                chunk.aside = mapping_of(size);
                copy_protected(chunk.aside.data(), memory_.data() + begin, size);
            } catch (const Error&) {
                chunk.lost = true;  // the guest goes on, the backup does not get its state
            }
        }
        unprotect(index);
    }

    std::span<std::byte> memory_;
    FileDescriptor fd_;
    FileDescriptor end_;
    std::mutex mutex_;
    std::vector<Chunk> chunks_;
    std::thread keeper_;  // last: it uses the rest
};

}  // namespace

std::unique_ptr<MemorySnapshot> take_snapshot(std::span<std::byte> memory) {
    if (auto snapshot = Protected::of(memory)) {
        return snapshot;
    }
    return std::make_unique<Copy>(memory);
}

bool can_protect_memory() {
    return static_cast<bool>(open_userfaultfd());
}

}  // namespace understudy::machine
