#include <array>
#include <numeric>
#include <vector>

#include "guest/programs/spin/kernels.hpp"

namespace understudy::spin {
namespace {

// Bytes one by one, each step needing the one before.
std::uint64_t run_hash(std::uint64_t seed) {
    std::vector<std::uint8_t> bytes(1U << 20);
    std::iota(bytes.begin(), bytes.end(), static_cast<std::uint8_t>(seed));
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const std::uint8_t byte : bytes) {
        hash = (hash ^ byte) * 0x100000001b3U;
    }
    return hash;
}

// Streams: as fast as memory gives.
std::uint64_t run_stream(std::uint64_t seed) {
    constexpr std::size_t kCount = std::size_t{512} << 10;
    std::vector<std::uint64_t> a(kCount, seed);
    std::vector<std::uint64_t> b(kCount, 3);
    std::vector<std::uint64_t> c(kCount);
    for (std::size_t i = 0; i < kCount; ++i) {
        c[i] = a[i] + 5 * b[i];
    }
    for (std::size_t i = 0; i < kCount; ++i) {
        a[i] = b[i] ^ (c[i] << 1);
    }
    return std::accumulate(a.begin(), a.end(), std::uint64_t{0});
}

// Dependent loads all over 4 MiB: latency.
std::uint64_t run_chase(std::uint64_t seed) {
    constexpr std::size_t kCount = 1U << 20;
    std::vector<std::uint32_t> next(kCount);
    std::iota(next.begin(), next.end(), 0U);
    Random random(seed);
    for (std::size_t i = kCount - 1; i > 0; --i) {  // one cycle through all
        std::swap(next[i], next[random.next() % i]);
    }
    std::uint32_t place = 0;
    std::uint64_t sum = 0;
    for (int i = 0; i < 200'000; ++i) {
        place = next[place];
        sum += place;
    }
    return sum;
}

constexpr std::array kKernels{
    Kernel{"hash", "bytes in a dependent chain", run_hash},
    Kernel{"stream", "streams through memory", run_stream},
    Kernel{"chase", "dependent loads", run_chase},
};

}  // namespace

std::span<const Kernel> memory_kernels() {
    return kKernels;
}

}  // namespace understudy::spin
