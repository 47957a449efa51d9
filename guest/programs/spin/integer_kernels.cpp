#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>
#include <vector>

#include "guest/programs/spin/kernels.hpp"

namespace understudy::spin {
namespace {

// Calls, and nothing else.
[[gnu::noinline]] std::uint64_t fibonacci(std::uint64_t n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
std::uint64_t run_fibonacci(std::uint64_t seed) {
    return fibonacci(27 + seed % 2);
}

// A chain of dependent integer operations.
std::uint64_t run_xorshift(std::uint64_t seed) {
    Random random(seed);
    std::uint64_t sum = 0;
    for (int i = 0; i < 2'000'000; ++i) {
        sum += random.next() >> 7;
    }
    return sum;
}

// Branches that no predictor knows.
std::uint64_t run_sort(std::uint64_t seed) {
    Random random(seed);
    std::vector<std::uint32_t> values(50'000);
    for (auto& value : values) {
        value = static_cast<std::uint32_t>(random.next());
    }
    std::sort(values.begin(), values.end());
    return mix(values[values.size() / 3], values[values.size() / 2]);
}

// Strided stores with a data-dependent outer loop.
std::uint64_t run_sieve(std::uint64_t seed) {
    const std::size_t limit = 500'000 + seed % 64;
    std::vector<std::uint8_t> composite(limit + 1);
    std::uint64_t sum = 0;
    for (std::size_t i = 2; i <= limit; ++i) {
        if (composite[i] != 0) {
            continue;
        }
        sum += i;
        for (std::size_t j = i * i; j <= limit; j += i) {
            composite[j] = 1;
        }
    }
    return sum;
}

// Small strings, a hash table, the allocator: what servers do all day.
std::uint64_t run_words(std::uint64_t seed) {
    Random random(seed);
    std::unordered_map<std::string, std::uint64_t> counts;
    for (int i = 0; i < 20'000; ++i) {
        const std::uint64_t word = random.next() % 3000;
        counts["word:" + std::to_string(word)] += word;
    }
    std::uint64_t sum = counts.size();
    for (const auto& [word, count] : counts) {
        sum += mix(word.size(), count);
    }
    return sum;
}

// Two short loops inside a long one: the cost of entering a loop shows.
std::uint64_t run_short_loops(std::uint64_t seed) {
    std::array<std::uint32_t, 64> table{};
    Random random(seed);
    std::uint64_t sum = 0;
    for (int i = 0; i < 60'000; ++i) {
        const std::uint64_t bits = random.next();
        const std::size_t length = 1 + bits % 12;
        for (std::size_t j = 0; j < length; ++j) {
            table[(bits >> j) % table.size()] += static_cast<std::uint32_t>(j);
        }
        for (std::uint64_t rest = bits & 0xff; rest != 0; rest &= rest - 1) {
            sum += table[rest % table.size()];
        }
    }
    return sum;
}

constexpr std::array kKernels{
    Kernel{"fibonacci", "recursive calls", run_fibonacci},
    Kernel{"xorshift", "a chain of integer operations", run_xorshift},
    Kernel{"sort", "unpredictable branches", run_sort},
    Kernel{"sieve", "strided stores", run_sieve},
    Kernel{"words", "strings in a hash table", run_words},
    Kernel{"short-loops", "loops of few iterations", run_short_loops},
};

}  // namespace

std::span<const Kernel> integer_kernels() {
    return kKernels;
}

}  // namespace understudy::spin
