// Small programs that are compiled by understudy-c++, each at -O0 and at -O2 (the namespace says which), and called by
// the tests with a control page of the tests' own.
#pragma once

#include <cstddef>
#include <cstdint>

#define UNDERSTUDY_DECLARE_SAMPLES                                                    \
    std::uint64_t straight(std::uint64_t value);                                      \
    std::uint64_t uncounted(std::uint64_t value);                                     \
    std::uint64_t fibonacci(std::uint64_t n);                                         \
    std::uint64_t iterate(std::uint64_t n);                                           \
    std::uint64_t iterate_constant(std::uint64_t x);                                  \
    void scale(float* values, std::size_t count, float factor);                       \
    std::uint32_t sum_strided(const std::uint32_t* values, std::size_t count);        \
    std::uint64_t nest(std::uint64_t outer, std::uint64_t inner);                     \
    std::uint64_t call_back(std::uint64_t n, std::uint64_t (*callee)(std::uint64_t)); \
    std::uint64_t call_straight(std::uint64_t n);                                     \
    std::uint64_t interpret(const std::uint8_t* code);                                \
    std::uint64_t two_entries(std::uint64_t n, bool second);                          \
    std::uint64_t returns_again(int times);                                           \
    std::uint64_t catches(std::uint64_t n);                                           \
    bool is_even(std::uint64_t n);                                                    \
    double mixed(double* values, std::size_t count);                                  \
    std::uint64_t keeps_flags(const std::uint64_t* values, std::size_t count);

namespace plain {  // the same source, not counted
UNDERSTUDY_DECLARE_SAMPLES
}
namespace counted_o0 {
UNDERSTUDY_DECLARE_SAMPLES
}
namespace counted_o2 {
UNDERSTUDY_DECLARE_SAMPLES
}
