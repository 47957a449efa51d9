#include "hypervisor/memory/guest_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "hypervisor/memory/headroom.hpp"

namespace understudy::memory {
namespace {

// A write that changes nothing, whoever else writes there at the same time: the guest, or what is received for it. (x86
// orders a locked instruction with plain stores of other processors; the thread sanitizer knows of none of these.)
[[gnu::no_sanitize_thread]] void touch(std::byte& at) {
    __asm__ volatile("lock orb $0, %0" : "+m"(at) : : "memory");
}

// Beyond what the host can spare the kernel would not refuse but kill, and not necessarily us.
void check_available(Bytes size) {
    constexpr Bytes kAddressSpace{std::uint64_t{1} << 47U};  // of a process on x86-64
    if (size > kAddressSpace) {
        throw Error::format("a process has no addresses for {} MiB of guest memory; choose a smaller --memory",
                            size.value >> 20);
    }
    if (const auto available = memory_headroom(); available && size > *available) {
        throw Error::format(
            "this host has {} MiB of memory to spare, the guest wants {} MiB; choose a smaller --memory",
            available->value >> 20, size.value >> 20);
    }
}

// Where huge pages begin, which not every kernel does by itself.
void* map_aligned(std::size_t size) {
    constexpr std::uintptr_t kHuge = std::uintptr_t{2} << 20U;
    void* const address =
        ::mmap(nullptr, size + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) {
        return address;
    }
    const std::size_t front = (kHuge - reinterpret_cast<std::uintptr_t>(address) % kHuge) % kHuge;
    auto* const begin = static_cast<std::byte*>(address);
    if (front > 0) {
        ::munmap(begin, front);
    }
    ::munmap(begin + front + size, kHuge - front);
    return begin + front;
}

bool inside(GuestAddress at, std::uint64_t size, std::uint64_t memory_size) {
    return at.value <= memory_size && size <= memory_size - at.value;
}

}  // namespace

bool is_zero(std::span<const std::byte> page) {
    return page[0] == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

GuestMemory::GuestMemory(Bytes size, Population population)
    : page_map_(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)) {
    check_available(size);
    void* address = map_aligned(size.value);
    if (address == MAP_FAILED) {
        throw Error::from_errno(
            fmt::format("cannot map {} MiB of guest memory; choose a smaller --memory", size.value >> 20), errno);
    }
    // Huge pages first, then populate: fewer faults here and shorter page walks later.
    ::madvise(address, size.value, MADV_HUGEPAGE);
    if (population == Population::at_once && ::madvise(address, size.value, MADV_POPULATE_WRITE) != 0 &&
        errno != EINVAL) {
        const int error = errno;
        ::munmap(address, size.value);
        throw Error::from_errno(
            fmt::format("the host cannot give {} MiB of guest memory; choose a smaller --memory", size.value >> 20),
            error);
    }
    bytes_ = {static_cast<std::byte*>(address), size.value};
}

GuestMemory::~GuestMemory() {
    stop_populating();
    ::munmap(bytes_.data(), bytes_.size());
}

void GuestMemory::clear() {
    if (::madvise(bytes_.data(), bytes_.size(), MADV_DONTNEED) != 0) {
        throw Error::from_errno("cannot clear guest memory", errno);
    }
}

// By touching page after page: that takes the lock of this mapping for one page at a time, where MADV_POPULATE_WRITE
// would keep every other thread of this process from mapping memory meanwhile.
void GuestMemory::populate_in_background() {
    populating_ = std::jthread([bytes = bytes_](const std::stop_token& stop) {
        constexpr std::size_t kPage = 4096;
        constexpr int kLowest = 19;  // nobody waits for it
        ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kLowest);
        for (std::size_t at = 0; at < bytes.size() && !stop.stop_requested(); at += kPage) {
            touch(bytes[at]);
        }
    });
}

void GuestMemory::stop_populating() {
    populating_ = {};  // stopped and joined
}

void GuestMemory::discard(GuestAddress at, std::uint64_t size) {
    const std::span bytes(checked(at, size), size);
    wrote(bytes);
    {
        const std::lock_guard lock(discarding_);
        if (snapshots_ == 0 && ::madvise(bytes.data(), bytes.size(), MADV_DONTNEED) == 0) {
            return;
        }
    }
    for (std::size_t page = 0; page < bytes.size(); page += kPageBytes) {
        const auto one = bytes.subspan(page, std::min(kPageBytes, bytes.size() - page));
        if (!is_zero(one)) {
            std::ranges::fill(one, std::byte{0});
        }
    }
}

// Linux, admin-guide/mm/pagemap.rst. A page that is neither in memory nor swapped out is one that nobody has touched
// since it was mapped, or discarded. One that is there, but that this process does not have for itself, is the kernel's
// single page of zeros: for a page that was only read, and, where a huge page is split (from Linux 6.12 on), for what
// had become zero in it.
GuestMemory::EverWritten GuestMemory::ever_written() const {
    constexpr std::uint64_t kPresent = std::uint64_t{1} << 63U;
    constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62U;
    constexpr std::uint64_t kExclusive = std::uint64_t{1} << 56U;
    constexpr std::size_t kAtOnce = 4096;
    const std::uint64_t all = bytes_.size() / kPageBytes;
    const std::uint64_t first = reinterpret_cast<std::uintptr_t>(bytes_.data()) / kPageBytes;
    EverWritten found;
    std::vector<std::uint64_t> entries(kAtOnce);
    for (std::uint64_t page = 0; page < all; page += kAtOnce) {
        const std::uint64_t count = std::min<std::uint64_t>(kAtOnce, all - page);
        const auto bytes = count * sizeof(std::uint64_t);
        const bool told =
            ::pread(page_map_.get(), entries.data(), bytes,
                    static_cast<off_t>((first + page) * sizeof(std::uint64_t))) == static_cast<ssize_t>(bytes);
        for (std::uint64_t i = 0; i < count; ++i) {
            if (told && (entries[i] & (kPresent | kSwapped)) == 0) {
                continue;
            }
            const bool shared = told && (entries[i] & (kSwapped | kExclusive)) == 0;
            (shared && is_zero(pages({page + i, 1})) ? found.zeros : found.pages).push_back(page + i);
        }
    }
    return found;
}

void GuestMemory::note_writes() {
    noted_.assign(bytes_.size() / kPageBytes, false);
}

void GuestMemory::wrote(std::span<const std::byte> bytes) {
    if (noted_.empty() || bytes.empty()) {
        return;
    }
    const auto begin = static_cast<std::size_t>(bytes.data() - bytes_.data());
    for (std::size_t page = begin / kPageBytes; page <= (begin + bytes.size() - 1) / kPageBytes; ++page) {
        noted_[page] = true;
    }
}

std::vector<std::uint64_t> GuestMemory::take_noted() {
    std::vector<std::uint64_t> pages;
    for (std::size_t page = 0; page < noted_.size(); ++page) {
        if (noted_[page]) {
            pages.push_back(page);
            noted_[page] = false;
        }
    }
    return pages;
}

std::span<const std::byte> GuestMemory::pages(PageRange range) const {
    if (range.count == 0) {
        return bytes_;
    }
    const std::uint64_t there = bytes_.size() / kPageBytes;
    const std::uint64_t first = std::min(range.first, there);
    return bytes_.subspan(first * kPageBytes, std::min(range.count, there - first) * kPageBytes);
}

std::optional<std::span<std::byte>> GuestMemory::range(GuestAddress at, std::uint64_t size) {
    return inside(at, size, bytes_.size()) ? std::optional(bytes_.subspan(at.value, size)) : std::nullopt;
}

std::optional<std::span<const std::byte>> GuestMemory::range(GuestAddress at, std::uint64_t size) const {
    return inside(at, size, bytes_.size()) ? std::optional<std::span<const std::byte>>(bytes_.subspan(at.value, size))
                                           : std::nullopt;
}

std::byte* GuestMemory::checked(GuestAddress address, std::size_t size) {
    const auto bytes = range(address, size);
    if (!bytes) {
        std::abort();
    }
    return bytes->data();
}

}  // namespace understudy::memory
