// Durations, counted in buckets that are as fine for microseconds as for seconds (the idea of HdrHistogram): what is
// said of them is right to 1 %, however many there are.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace understudy::tools {

class LatencyHistogram {
  public:
    void add(std::chrono::nanoseconds duration);  // a negative one counts as none
    void add(const LatencyHistogram& other);
    [[nodiscard]] std::uint64_t count() const { return count_; }
    // The duration that the part `q` of them, 0 to 1, is shorter than; 0: of nothing.
    [[nodiscard]] std::chrono::nanoseconds quantile(double q) const;

  private:
    static constexpr unsigned kSubBits = 7;  // buckets of 1/128 of a power of two

    static std::size_t bucket_of(std::uint64_t value);
    static std::int64_t middle_of(std::size_t bucket);

    std::vector<std::uint64_t> buckets_;  // up to the longest so far
    std::uint64_t count_ = 0;
};

}  // namespace understudy::tools
