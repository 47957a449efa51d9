#include "tools/verifier/latency_histogram.hpp"

#include <algorithm>
#include <bit>

namespace understudy::tools {

void LatencyHistogram::add(std::chrono::nanoseconds duration) {
    const auto bucket = bucket_of(static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0)));
    if (bucket >= buckets_.size()) {
        buckets_.resize(bucket + 1);
    }
    ++buckets_[bucket];
    ++count_;
}

void LatencyHistogram::add(const LatencyHistogram& other) {
    buckets_.resize(std::max(buckets_.size(), other.buckets_.size()));
    for (std::size_t i = 0; i < other.buckets_.size(); ++i) {
        buckets_[i] += other.buckets_[i];
    }
    count_ += other.count_;
}

std::chrono::nanoseconds LatencyHistogram::quantile(double q) const {
    if (count_ == 0) {
        return {};
    }
    const auto rank = std::min(static_cast<std::uint64_t>(std::max(q, 0.0) * static_cast<double>(count_)), count_ - 1);
    std::uint64_t seen = 0;
    std::size_t bucket = 0;
    for (; (seen += buckets_[bucket]) <= rank; ++bucket) {
    }
    return std::chrono::nanoseconds(middle_of(bucket));
}

std::size_t LatencyHistogram::bucket_of(std::uint64_t value) {
    if (value >> kSubBits == 0) {
        return static_cast<std::size_t>(value);
    }
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - kSubBits - 1;
    return ((shift + 1U) << kSubBits) + ((value >> shift) & ((1U << kSubBits) - 1));
}

std::int64_t LatencyHistogram::middle_of(std::size_t bucket) {
    if (bucket >> kSubBits == 0) {
        return static_cast<std::int64_t>(bucket);
    }
    const auto shift = (bucket >> kSubBits) - 1;
    const auto lowest = ((bucket & ((1U << kSubBits) - 1)) | (1U << kSubBits)) << shift;
    return static_cast<std::int64_t>(lowest + ((std::size_t{1} << shift) >> 1));
}

}  // namespace understudy::tools
