#include "hypervisor/machine/guest_memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace understudy::machine {

namespace {

// Populated at once, between two looks at whether it is still wanted.
constexpr std::size_t kPiece = 4 << 20;

// What the host could still give, swap aside; nothing where it does not tell.
std::optional<std::uint64_t> available_memory() {
    std::ifstream in("/proc/meminfo");
    std::string name;
    std::uint64_t kibibytes = 0;
    for (std::string line; std::getline(in, line);) {
        if (std::istringstream words(line); words >> name >> kibibytes && name == "MemAvailable:") {
            return kibibytes << 10;
        }
    }
    return std::nullopt;
}

// Beyond this the kernel would not refuse but kill, and not necessarily us.
void check_available(Bytes size) {
    if (const auto available = available_memory(); available && size.value > *available) {
        throw Error::format(
            "this host has {} MiB of memory to spare, the guest wants {} MiB; choose a smaller --memory",
            *available >> 20, size.value >> 20);
    }
}

}  // namespace

GuestMemory::GuestMemory(Bytes size, const std::stop_token& stop) {
    check_available(size);
    void* address =
        ::mmap(nullptr, size.value, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) {
        throw Error::from_errno(
            fmt::format("cannot map {} MiB of guest memory; choose a smaller --memory", size.value >> 20), errno);
    }
    // Huge pages first, then populate: fewer faults here and shorter page walks later.
    ::madvise(address, size.value, MADV_HUGEPAGE);
    bytes_ = {static_cast<std::byte*>(address), size.value};
    for (std::size_t done = 0; done < size.value && !stop.stop_requested(); done += kPiece) {
        const auto piece = bytes_.subspan(done, std::min(kPiece, bytes_.size() - done));
        if (::madvise(piece.data(), piece.size(), MADV_POPULATE_WRITE) != 0 && errno != EINVAL) {
            const int error = errno;
            ::munmap(address, size.value);
            throw Error::from_errno(
                fmt::format("the host cannot give {} MiB of guest memory; choose a smaller --memory", size.value >> 20),
                error);
        }
    }
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
