// Records, states and files to test the codecs with.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "common/execution.hpp"
#include "logging_channel/log_file.hpp"

namespace understudy::channel::testing {

inline std::vector<std::byte> bytes_of(std::string_view text) {
    const auto* data = reinterpret_cast<const std::byte*>(text.data());
    return {data, data + text.size()};
}

inline std::string hex(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte b : bytes) {
        text += fmt::format("{:02x}", static_cast<unsigned>(b));
    }
    return text;
}

class Sampler {
  public:
    explicit Sampler(std::uint64_t seed, std::uint64_t base_stop = 0) : random_(seed), stop_(base_stop) {}

    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

    std::vector<std::byte> noise(std::size_t size) {
        std::vector<std::byte> bytes(size);
        for (std::byte& b : bytes) {
            b = static_cast<std::byte>(random_());
        }
        return bytes;
    }

    // The next record after the last one: every kind of stop, now and then with frames, answers, odd clocks.
    Record record(std::size_t longest_frame = kMaxFrameBytes) {
        Record record;
        stop_ += 1 + (below(50) == 0 ? below(1000) : 0);
        count_ += below(3) == 0 ? 0 : below(1ULL << below(40));
        clock_ += static_cast<std::int64_t>(below(1'000'000)) - (below(20) == 0 ? 500'000 : 0);
        clock_ = std::max<std::int64_t>(clock_, 0);
        record.stop = {{stop_},
                       StopKind(1 + below(5)),
                       RequestKind(below(1 + static_cast<std::uint64_t>(kLastRequestKind))),
                       {count_},
                       random_()};
        if (record.stop.kind == StopKind::idle && below(2) == 0) {
            record.stop.argument = below(2) == 0 ? std::numeric_limits<std::uint64_t>::max()
                                                 : static_cast<std::uint64_t>(clock_) + below(1'000'000'000);
        }
        record.input.clock = GuestTime(clock_);
        for (std::uint64_t i = below(4); i > 0; --i) {
            record.input.frames.push_back(noise(kMinFrameBytes + below(longest_frame - kMinFrameBytes + 1)));
        }
        record.input.answer = noise(below(3) == 0 ? below(257) : 0);
        record.input.typed = noise(below(10) == 0 ? below(100) : 0);
        record.digests.registers = random_();
        if (below(2) == 0) {
            record.digests.outputs = random_();
        }
        if (below(10) == 0) {
            record.digests.memory = {{random_() % 1000, random_() % 1000}, random_()};
        }
        return record;
    }

  private:
    std::mt19937_64 random_;
    std::uint64_t stop_;
    std::uint64_t count_ = 0;
    std::int64_t clock_ = 0;
};

// A file name of this process's own, gone at the end.
class TemporaryFile {
  public:
    explicit TemporaryFile(std::string_view name)
        : path_(std::filesystem::temp_directory_path() / fmt::format("understudy-{}-{}", ::getpid(), name)) {}
    ~TemporaryFile() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

    [[nodiscard]] std::vector<std::byte> contents() const {
        std::ifstream file(path_, std::ios::binary);
        return bytes_of(std::string(std::istreambuf_iterator<char>(file), {}));
    }
    void replace(std::span<const std::byte> bytes) const {
        std::ofstream file(path_, std::ios::binary | std::ios::trunc);
        file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }

  private:
    std::filesystem::path path_;
};

}  // namespace understudy::channel::testing
