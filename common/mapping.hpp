// Owns one mapping of memory.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <span>
#include <utility>

namespace understudy {

// Unmaps what it holds when it ends. Not thread-safe.
class Mapping {
  public:
    // Of a file or device, shared with whoever else maps it. An invalid one where mmap(2) fails; errno says why.
    static Mapping shared(int fd, std::size_t size) {
        return Mapping(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), size);
    }
    // Anonymous memory, zero, in huge pages where the host has them; no swap is reserved for it.
    static Mapping anonymous(std::size_t size) {
        Mapping mapping(
            ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), size);
        if (mapping) {
            ::madvise(mapping.address_, size, MADV_HUGEPAGE);
        }
        return mapping;
    }

    Mapping() = default;
    Mapping(Mapping&& other) noexcept
        : address_(std::exchange(other.address_, MAP_FAILED)), size_(std::exchange(other.size_, 0)) {}
    Mapping& operator=(Mapping&& other) noexcept {
        std::swap(address_, other.address_);
        std::swap(size_, other.size_);
        return *this;
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping() {
        if (*this) {
            ::munmap(address_, size_);
        }
    }

    [[nodiscard]] explicit operator bool() const { return address_ != MAP_FAILED; }
    [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(address_); }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] std::span<std::byte> bytes() const { return {data(), size_}; }

  private:
    Mapping(void* address, std::size_t size) : address_(address), size_(address == MAP_FAILED ? 0 : size) {}

    void* address_ = MAP_FAILED;
    std::size_t size_ = 0;
};

}  // namespace understudy
