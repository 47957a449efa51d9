#include "hypervisor/machine/guest_memory.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>

namespace understudy::machine {

GuestMemory::GuestMemory(Bytes size) {
    void* address =
        ::mmap(nullptr, size.value, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) {
        throw Error::from_errno(
            fmt::format("cannot map {} MiB of guest memory; choose a smaller --memory", size.value >> 20), errno);
    }
    // Huge pages first, then populate: fewer faults here and shorter page walks later.
    ::madvise(address, size.value, MADV_HUGEPAGE);
    if (::madvise(address, size.value, MADV_POPULATE_WRITE) != 0 && errno != EINVAL) {
        const int error = errno;
        ::munmap(address, size.value);
        throw Error::from_errno(
            fmt::format("the host cannot give {} MiB of guest memory; choose a smaller --memory", size.value >> 20),
            error);
    }
    bytes_ = {static_cast<std::byte*>(address), size.value};
}

GuestMemory::~GuestMemory() {
    ::munmap(bytes_.data(), bytes_.size());
}

std::optional<std::span<std::byte>> GuestMemory::range(GuestAddress at, std::uint64_t size) {
    if (at.value > bytes_.size() || size > bytes_.size() - at.value) {
        return std::nullopt;
    }
    return bytes_.subspan(at.value, size);
}

std::byte* GuestMemory::checked(GuestAddress address, std::size_t size) {
    const auto bytes = range(address, size);
    if (!bytes) {
        std::abort();
    }
    return bytes->data();
}

}  // namespace understudy::machine
