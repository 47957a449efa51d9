// The bytes that source sends: a function of their position in the stream, so that a receiver can check each of them.
// The period is prime, so that a lost or repeated segment of any usual size shows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace understudy::programs {

constexpr std::size_t kPatternPeriod = 251;

class Pattern {
  public:
    Pattern() : block_(kPatternPeriod * kPeriods, 0) {
        for (std::size_t i = 0; i < block_.size(); ++i) {
            block_[i] = static_cast<char>(i % kPatternPeriod);
        }
    }

    // What the stream holds at `position`; at most `most` bytes, at least one if `most` is not 0.
    [[nodiscard]] std::string_view at(std::uint64_t position, std::uint64_t most) const {
        const auto start = static_cast<std::size_t>(position % kPatternPeriod);
        const std::string_view rest = std::string_view(block_).substr(start);
        return rest.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(most, rest.size())));
    }

    [[nodiscard]] bool matches(std::uint64_t position, std::string_view bytes) const {
        while (!bytes.empty()) {
            const std::string_view expected = at(position, bytes.size());
            if (bytes.substr(0, expected.size()) != expected) {
                return false;
            }
            bytes.remove_prefix(expected.size());
            position += expected.size();
        }
        return true;
    }

  private:
    static constexpr std::size_t kPeriods = 1045;  // about 256 KiB

    std::string block_;
};

}  // namespace understudy::programs
