// A program that does at random what could tell two replicas of a guest apart: everything that it sees goes into a
// checksum, which it prints, and into memory, which a replay compares. An ordinary Linux program; each file has the
// operations of one subject.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace understudy::torture {

// splitmix64 (Steele, Lea, Flood, 2014).
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111eb;
        return z ^ (z >> 31U);
    }
    // 0 <= result < bound; a bound of 0 stands for 2^64.
    std::uint64_t below(std::uint64_t bound) { return bound == 0 ? next() : next() % bound; }
    // from <= result <= to.
    std::uint64_t between(std::uint64_t from, std::uint64_t to) { return from + below(to - from + 1); }
    bool one_in(std::uint64_t n) { return below(n) == 0; }

  private:
    std::uint64_t state_;
};

// Of all that was seen so far (FNV-1a).
class Checksum {
  public:
    void add_bytes(const void* data, std::size_t size) {
        const auto* const bytes = static_cast<const unsigned char*>(data);
        for (std::size_t i = 0; i < size; ++i) {
            value_ = (value_ ^ bytes[i]) * 0x100000001b3;
        }
    }
    template <typename T>
    void add(const T& value) {
        static_assert(std::is_scalar_v<T>);
        add_bytes(&value, sizeof value);
    }
    [[nodiscard]] std::uint64_t value() const { return value_; }

  private:
    std::uint64_t value_ = 0xcbf29ce484222325;
};

struct Context {
    Random random;
    Checksum seen;
};

struct Operation {
    const char* name;
    void (*run)(Context& context);
};

// calls.cpp, code.cpp, compute.cpp, ...
std::span<const Operation> call_operations();
std::span<const Operation> code_operations();
std::span<const Operation> compute_operations();
std::span<const Operation> file_operations();
std::span<const Operation> hostile_operations();
std::span<const Operation> memory_operations();
std::span<const Operation> process_operations();
std::span<const Operation> served_file_operations();
std::span<const Operation> signal_operations();
std::span<const Operation> socket_operations();
std::span<const Operation> spin_operations();
std::span<const Operation> thread_operations();

// Ends the program with status 1 where something is not as on any Linux.
void expect(bool holds, const char* what);

}  // namespace understudy::torture
