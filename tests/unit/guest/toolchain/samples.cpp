// Compiled several times: SAMPLES names the namespace, see samples.hpp.
#include "tests/unit/guest/toolchain/samples.hpp"

#include <csetjmp>

namespace SAMPLES {
namespace {

[[gnu::noinline]] void throw_odd(std::uint64_t n) {
    if (n % 2 != 0) {
        throw n;
    }
}

}  // namespace

[[gnu::noinline]] std::uint64_t straight(std::uint64_t value) {
    return value * 3 + 1;
}

[[clang::annotate("understudy-uncounted")]] std::uint64_t uncounted(std::uint64_t value) {
    for (std::uint64_t i = 0; i < value % 64; ++i) {
        value ^= value >> (i % 7);
    }
    return value;
}

std::uint64_t fibonacci(std::uint64_t n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

// The chain of shifts keeps the loop from being replaced by a formula, `unroll(disable)` its count readable.
std::uint64_t iterate(std::uint64_t n) {
    std::uint64_t x = 1;
#pragma clang loop unroll(disable) vectorize(disable)
    for (std::uint64_t i = 0; i < n; ++i) {
        x = (x << 5) ^ (x >> 3) ^ i;
    }
    return x;
}

std::uint64_t iterate_constant(std::uint64_t x) {
#pragma clang loop unroll(disable) vectorize(disable)
    for (std::uint64_t i = 0; i < 100; ++i) {
        x = (x << 5) ^ (x >> 3) ^ i;
    }
    return x;
}

void scale(float* values, std::size_t count, float factor) {
    for (std::size_t i = 0; i < count; ++i) {
        values[i] = values[i] * factor + 1.0F;
    }
}

std::uint32_t sum_strided(const std::uint32_t* values, std::size_t count) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < count; i += 3) {
        sum += values[i] ^ static_cast<std::uint32_t>(i);
    }
    return sum;
}

std::uint64_t nest(std::uint64_t outer, std::uint64_t inner) {
    std::uint64_t x = 1;
#pragma clang loop unroll(disable)
    for (std::uint64_t i = 0; i < outer; ++i) {
#pragma clang loop unroll(disable) vectorize(disable)
        for (std::uint64_t j = 0; j < inner; ++j) {
            x = (x << 5) ^ (x >> 3) ^ (i + j);
        }
    }
    return x;
}

std::uint64_t call_back(std::uint64_t n, std::uint64_t (*callee)(std::uint64_t)) {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < n; ++i) {
        sum += callee(i);
    }
    return sum;
}

std::uint64_t call_straight(std::uint64_t n) {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < n; ++i) {
        sum += straight(i ^ sum);
    }
    return sum;
}

// Computed gotos: 1 increments, 2 doubles, 3 goes back to the start while the value is below 1000, 0 ends.
std::uint64_t interpret(const std::uint8_t* code) {
    static const void* const operations[] = {&&end, &&increment, &&twice, &&again};
    std::uint64_t value = 1;
    const std::uint8_t* next = code;
    goto* operations[*next++];
increment:
    ++value;
    goto* operations[*next++];
twice:
    value *= 2;
    goto* operations[*next++];
again:
    if (value < 1000) {
        next = code;
    }
    goto* operations[*next++];
end:
    return value;
}

// A loop with two ways in: irreducible, no natural loop.
std::uint64_t two_entries(std::uint64_t n, bool second) {
    std::uint64_t x = 1;
    if (second) {
        goto middle;
    }
top:
    x = (x << 5) ^ (x >> 3) ^ n;
middle:
    x = x * 7 + 3;
    asm volatile("" : "+r"(x));
    if (n-- != 0) {
        goto top;
    }
    return x;
}

// A loop that no branch of this function goes back in.
std::uint64_t returns_again(int times) {
    static std::jmp_buf place;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
    const int returned = setjmp(place);
    if (returned < times) {
        std::longjmp(place, returned + 1);
    }
    return static_cast<std::uint64_t>(returned);
}

std::uint64_t catches(std::uint64_t n) {
    std::uint64_t caught = 0;
    for (std::uint64_t i = 0; i < n; ++i) {
        try {
            throw_odd(i);
        } catch (std::uint64_t value) {
            caught += value;
        }
    }
    return caught;
}

// Musttail calls form a loop of two functions.
[[gnu::noinline]] bool is_odd(std::uint64_t n) {
    if (n == 0) {
        return false;
    }
    [[clang::musttail]] return is_even(n - 1);
}
[[gnu::noinline]] bool is_even(std::uint64_t n) {
    if (n == 0) {
        return true;
    }
    [[clang::musttail]] return is_odd(n - 1);
}

// Integers, scalars and vectors alive over many counts.
double mixed(double* values, std::size_t count) {
    double sum = 0.5;
    std::uint64_t x = 88172645463325252U;
    for (int round = 0; round < 3; ++round) {
        for (std::size_t i = 0; i < count; ++i) {
            values[i] = values[i] * 0.75 + 0.25;
        }
        for (std::size_t i = 0; i < count; ++i) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            sum += values[x % count] * static_cast<double>(x >> 40);
        }
    }
    return sum;
}

// Carries from iteration to iteration: sums of 128 bits, whose halves the flags connect.
std::uint64_t keeps_flags(const std::uint64_t* values, std::size_t count) {
    unsigned __int128 sum = 0;
    std::size_t i = 0;
    do {
        sum += (static_cast<unsigned __int128>(values[i]) << 64) - values[i];
        sum = sum * 3 + values[i];
    } while (++i != count && values[i] != 0);
    return static_cast<std::uint64_t>(sum >> 64) ^ static_cast<std::uint64_t>(sum);
}

}  // namespace SAMPLES
